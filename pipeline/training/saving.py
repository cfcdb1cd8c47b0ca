"""Writing an engine to a checkpoint and making an engine what a checkpoint says.

A checkpoint is written under a temporary name, flushed, and renamed when all is there. Every function here is
called by all ranks together, but for `keep_newest`.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from data_prep.contract.receipt import file_hash, versions, write_atomic
from data_prep.contract.settings import InputError
from pipeline.parallel import randomness, state
from pipeline.parallel.engine import Engine
from pipeline.parallel.world import World
from pipeline.training.checkpoint import INDEX, Checkpoint, FileEntry, Index, TensorEntry, complete
from pipeline.training.job import checkpoint_folder


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
