"""The files of checkpoints on disk: written and hashed in one go, published by a rename, removed by rule.

checkpoints/.step-000200.8d2f01c4.tmp/      being written by the job of that token; else an orphan
checkpoints/step-000200/                    complete
"""

import json
import math
import os
import shutil
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from data_prep.contract.receipt import versions, write_atomic
from data_prep.contract.settings import Settings
from pipeline.checkpoints.format import FileEntry, Index, TensorEntry, complete
from pipeline.checkpoints.loop_state import LoopState
from pipeline.checkpoints.run_folder import INDEX
from pipeline.distributed.world import World

CHUNK_BYTES = 16_000_000
TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.uint8: "U8"}


class RankShare(Settings):
    """What a rank has written, for the main rank to put into the index."""

    tensors: dict[str, TensorEntry]
    """Its part of every tensor that it has one of."""
    files: dict[str, FileEntry]
    """Its files."""


def write_tensors(path: Path, tensors: dict[str, Tensor], check: Callable[[], None]) -> FileEntry:
    """Write contiguous CPU tensors as safetensors to disk; `check` is called often and may raise.

    The bytes go out as they lie in memory and are hashed on the way, so nothing is copied or read again.
    """
    # The widest types first, so that every tensor is aligned to its own type.
    ordered = dict(sorted(tensors.items(), key=lambda item: -item[1].element_size()))
    digest = sha256()
    with path.open("wb", buffering=0) as file:
        for data in (_header(ordered), *(_bytes(tensor) for tensor in ordered.values())):
            for begin in range(0, len(data), CHUNK_BYTES):
                check()
                chunk = data[begin : begin + CHUNK_BYTES]
                digest.update(chunk)
                _write_all(file.fileno(), chunk)
        os.fsync(file.fileno())
        return FileEntry(bytes=file.tell(), sha256=digest.hexdigest())


def _header(tensors: dict[str, Tensor]) -> memoryview:
    entries, end = {}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        shape = list(tensor.shape)
        entries[name] = {"dtype": TYPES[tensor.dtype], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return memoryview(struct.pack("<Q", len(text)) + text)


def _bytes(tensor: Tensor) -> memoryview:
    return memoryview(tensor.numpy()).cast("B")


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def index(
    temporary: Path,
    world: World,
    step: int,
    updates: int,
    memory: LoopState,
    adapter_scale: float = 1.0,
) -> Index:
    """The index of a checkpoint of which every rank has written its share."""
    paths = [share_path(temporary, rank) for rank in range(world.size)]
    shares = [RankShare.model_validate_json(path.read_bytes()) for path in paths]
    return Index(
        step=step,
        updates=updates,
        memory=memory,
        adapter_scale=adapter_scale,
        layout=world.layout,
        tensors=_merged(shares),
        files={name: entry for share in shares for name, entry in share.files.items()},
        versions=versions("torch", "deepspeed", "megatron-core"),
    )


def publish(temporary: Path, target: Path, index: Index) -> None:
    """Turn the files that every rank has written into a complete checkpoint."""
    write_atomic(temporary / INDEX, index.model_dump_json() + "\n")
    for path in temporary.glob("share-*.json"):
        path.unlink()
    flush(temporary)
    if target.exists():
        remove(target)
    temporary.rename(target)
    flush(target.parent)


def share_path(temporary: Path, rank: int) -> Path:
    """Where a rank says that its share is on disk."""
    return temporary / f"share-{rank:05d}.json"


def _merged(shares: list[RankShare]) -> dict[str, TensorEntry]:
    merged: dict[str, TensorEntry] = {}
    for share in shares:
        for name, entry in share.tensors.items():
            if (found := merged.get(name)) is not None:
                entry = entry.model_copy(
                    update={
                        "parts": [*found.parts, *entry.parts],
                        "whole_states": found.whole_states | entry.whole_states,
                    }
                )
            merged[name] = entry
    for name, entry in merged.items():
        there = sum(part.length for part in entry.parts)
        assert there == math.prod(entry.shape), f"{name}: {there} numbers of shape {entry.shape}"
    return merged


def flush(path: Path) -> None:
    """Bring a file or folder to disk, so that it survives the machine."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(checkpoint: Path) -> None:
    """Remove a checkpoint; when this is interrupted an orphan is left, never half a checkpoint."""
    aside = checkpoint.with_name(f".{checkpoint.name}.old.tmp")
    checkpoint.rename(aside)
    shutil.rmtree(aside)


def prune(run: Path, keep: int, every: int | None, best: int = 0) -> None:
    """Remove checkpoints but for the newest `keep`, those that `every` divides, and that of step `best`."""
    for folder in complete(run)[:-keep]:
        step = int(folder.name.split("-")[1])
        if step != best and (not every or step % every):
            remove(folder)


def remove_orphans(run: Path) -> None:
    """Remove what interrupted processes left under temporary names in a run's folder."""
    for orphan in [*run.glob(".*.tmp"), *(run / "checkpoints").glob(".*.tmp")]:
        if orphan.is_dir():
            shutil.rmtree(orphan)
        else:
            orphan.unlink(missing_ok=True)
