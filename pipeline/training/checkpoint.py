"""Checkpoints that any layout can read: whole tensors under layout-free names, in safetensors.

    checkpoints/step-000200/
        checkpoint.json                 step, layout, tensors with their shapes, files with their sha256
        weights-00000.safetensors       float32 weights; every rank writes a share of its stage's
        optimizer-00000.safetensors     Adam's two moments of the same parameters
        random-00000.safetensors        random states of that rank

A checkpoint is written under a temporary name, flushed, and renamed when `checkpoint.json` is there: a folder
named `step-N` is complete. Nothing is pickled.
"""

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from data_prep.contract.receipt import file_hash, versions, write_atomic
from data_prep.contract.settings import InputError, Settings
from pipeline.parallel import randomness, state
from pipeline.parallel.engine import Engine
from pipeline.parallel.world import World
from pipeline.training.job import checkpoint_folder

INDEX = "checkpoint.json"
SCHEMA_VERSION = 1


class TensorEntry(Settings):
    shape: list[int]
    """Shape of the whole tensor."""
    rank: int
    """Rank whose files hold it."""


class FileEntry(Settings):
    bytes: int
    """Size."""
    sha256: str
    """Hash."""


class Index(Settings):
    schema_version: int = SCHEMA_VERSION
    """Version of this format."""
    step: int
    """Optimizer steps done."""
    layout: dict[str, int]
    """Tensor, pipeline and data parallel sizes that wrote it."""
    tensors: dict[str, TensorEntry]
    """Every parameter."""
    files: dict[str, FileEntry]
    """Every file but this one."""
    versions: dict[str, str] = Field(default_factory=dict)
    """What wrote it."""


class Checkpoint:
    """A complete checkpoint on disk. `InputError` where its index cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / INDEX
        try:
            self.index = Index.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise InputError(f"{folder}: not a checkpoint (no {INDEX})") from None
        except ValidationError as error:
            raise InputError(f"{path}: not a checkpoint index ({error.errors()[0]['msg']})") from error

    def weight(self, name: str) -> Tensor:
        """A whole weight, float32."""
        return self._read("weights", name, name)

    def moment(self, name: str, kind: state.Kind) -> Tensor:
        """One of Adam's whole moments."""
        return self._read("optimizer", name, f"{name}.{kind}")

    def _read(self, file: str, name: str, key: str) -> Tensor:
        path = self.folder / f"{file}-{self.index.tensors[name].rank:05d}.safetensors"
        try:
            with safe_open(path, "pt") as opened:
                return opened.get_tensor(key)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: cannot be read ({error}); use an earlier checkpoint") from error

    def random_states(self, rank: int) -> dict[str, Tensor]:
        """The random states of a rank."""
        with safe_open(self.folder / f"random-{rank:05d}.safetensors", "pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict

    def damage(self, share: slice = slice(None)) -> str | None:
        """What is wrong with the files in a share of the list, by size and hash; None where nothing is."""
        for name, entry in sorted(self.index.files.items())[share]:
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != entry.bytes:
                return f"{name} is missing or has not {entry.bytes} bytes"
            if file_hash(path) != entry.sha256:
                return f"{name} is corrupt (its sha256 differs)"
        return None

    def check_fits(self, shapes: dict[str, list[int]]) -> None:
        """`InputError` unless the checkpoint holds weights of these names and whole shapes."""
        for name, shape in shapes.items():
            entry = self.index.tensors.get(name)
            found = "no such weight" if entry is None else f"shape {entry.shape}"
            if entry is None or entry.shape != shape:
                raise InputError(
                    f"{self.folder}: a checkpoint of another architecture: {name} has {found} there and "
                    f"shape {shape} in the recipe; use the model section of the recipe that made it"
                )


def complete(run: Path) -> list[Path]:
    """The folders of complete checkpoints of a run, oldest first."""
    return sorted((run / "checkpoints").glob("step-*"), key=lambda path: int(path.name.split("-")[1]))


def save(engine: Engine, run: Path, step: int) -> Path:
    """Write the checkpoint of a step; all ranks call this together."""
    world, target = engine.world, checkpoint_folder(run, step)
    temporary = target.with_name(f".{target.name}.tmp")
    if world.is_main:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    dist.barrier()
    tensors = _write_share(engine, temporary, world.rank)
    files = {
        path.name: FileEntry(bytes=path.stat().st_size, sha256=file_hash(path))
        for path in temporary.glob(f"*-{world.rank:05d}.safetensors")
    }
    shares: list[tuple[dict[str, TensorEntry], dict[str, FileEntry]]] = [({}, {})] * world.size
    dist.all_gather_object(shares, (tensors, files))
    if world.is_main:
        _publish(temporary, target, step, world, shares)
    dist.barrier()
    return target


def _write_share(engine: Engine, folder: Path, rank: int) -> dict[str, TensorEntry]:
    weights: dict[str, Tensor] = {}
    moments: dict[str, Tensor] = {}
    for name, kind, whole, keep in state.whole_tensors(engine):
        if keep and kind == "weight":
            weights[name] = whole.cpu().contiguous()
        elif keep:
            moments[f"{name}.{kind}"] = whole.cpu().contiguous()
    contents = {"weights": weights, "optimizer": moments, "random": randomness.states()}
    for file, tensors in contents.items():
        path = folder / f"{file}-{rank:05d}.safetensors"
        save_file(tensors, path)
        flush(path)
    return {name: TensorEntry(shape=list(weight.shape), rank=rank) for name, weight in weights.items()}


def _publish(
    temporary: Path,
    target: Path,
    step: int,
    world: World,
    shares: list[tuple[dict[str, TensorEntry], dict[str, FileEntry]]],
) -> None:
    index = Index(
        step=step,
        layout={"tensor": world.tensor_size, "pipeline": world.pipeline_size, "data": world.data_size},
        tensors={name: entry for tensors, _ in shares for name, entry in tensors.items()},
        files={name: entry for _, files in shares for name, entry in files.items()},
        versions=versions("torch", "deepspeed", "megatron-core"),
    )
    write_atomic(temporary / INDEX, index.model_dump_json(indent=1) + "\n")
    if target.exists():
        shutil.rmtree(target)
    temporary.rename(target)
    flush(target.parent)


def flush(path: Path) -> None:
    """Bring a file or folder to disk, so that it survives the machine."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_newest(run: Path, count: int) -> None:
    """Remove all but the newest complete checkpoints, and what an interrupted save left."""
    for old in [*complete(run)[:-count], *(run / "checkpoints").glob(".step-*.tmp")]:
        shutil.rmtree(old)


def newest(run: Path, world: World, notify: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint whose files are what was written; damaged ones are named and passed over."""
    for folder in reversed(complete(run)):
        checkpoint, damage = None, None
        try:
            checkpoint = Checkpoint(folder)
            damage = checkpoint.damage(slice(world.rank, None, world.size))
        except InputError as error:
            damage = str(error)
        found: list[str | None] = [None] * world.size
        dist.all_gather_object(found, damage)
        reasons = [reason for reason in found if reason]
        if checkpoint is not None and not reasons:
            return checkpoint
        notify(f"{folder}: not used, {reasons[0]}; trying the checkpoint before it")
    return None


def load(engine: Engine, checkpoint: Checkpoint) -> int:
    """Make the engine what it was when the checkpoint was written; returns the steps done.

    In another layout weights, moments and schedule go on as they were; random states only go on where the
    layout is the same.
    """
    load_weights(engine, checkpoint)
    index, world = checkpoint.index, engine.world
    state.restore_moments(engine, index.step, checkpoint.moment)
    layout = {"tensor": world.tensor_size, "pipeline": world.pipeline_size, "data": world.data_size}
    if index.layout == layout:
        randomness.restore(checkpoint.random_states(world.rank))
    return index.step


def load_weights(engine: Engine, checkpoint: Checkpoint) -> None:
    """Take the weights alone, as the start of another training."""
    checkpoint.check_fits(engine.whole_shapes())
    state.restore_weights(engine, checkpoint.weight)


def describe(folder: Path) -> dict[str, object]:
    """What a checkpoint holds, for `bloomery inspect`."""
    index = Checkpoint(folder).index
    parameters = sum(math.prod(entry.shape) for entry in index.tensors.values())
    return json.loads(index.model_dump_json(exclude={"files", "tensors"})) | {
        "parameters": parameters,
        "bytes": sum(entry.bytes for entry in index.files.values()),
        "tensors": {name: entry.shape for name, entry in index.tensors.items()},
    }
