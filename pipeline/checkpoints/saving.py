"""Writing an engine to a checkpoint and making an engine what a checkpoint says.

Every function here is called by all ranks together.
"""

from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist

from data_prep.contract.settings import InputError
from pipeline.checkpoints.format import Checkpoint, complete
from pipeline.checkpoints.run_folder import checkpoint_folder
from pipeline.checkpoints.writer import Writer
from pipeline.distributed import randomness
from pipeline.distributed.world import World
from pipeline.optim.names import ADAPTER
from pipeline.parallel import state
from pipeline.parallel.engine import Engine


def save(engine: Engine, run: Path, step: int) -> Path:
    """Write the checkpoint of a step and wait for it; a training has a `Writer`, which does not wait."""
    writer = Writer(engine, run, engine.optim)
    writer.begin(step)
    writer.finish_last()
    return checkpoint_folder(run, step)


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

    In another layout weights, optimizer states and schedule go on as they were; random states only go on
    where the layout is the same.
    """
    checkpoint.check_fits(engine.whole_shapes())
    state.restore_weights(engine, checkpoint.weight)
    index, world = checkpoint.index, engine.world
    state.restore_states(engine, index.updates, checkpoint.state)
    layout = {"tensor": world.tensor_size, "pipeline": world.pipeline_size, "data": world.data_size}
    if index.layout == layout:
        randomness.restore(checkpoint.random_states(world.rank))
    return index.step


def load_weights(engine: Engine, checkpoint: Checkpoint) -> None:
    """Take the weights alone, as the start of another training.

    Adapters of the checkpoint are merged into them; those of the engine stay as they were drawn.
    """
    shapes = engine.whole_shapes()
    drawn = {name for name in shapes if ADAPTER in name}
    checkpoint.check_fits({name: shape for name, shape in shapes.items() if name not in drawn})
    state.restore_weights(engine, checkpoint.merged, drawn)
