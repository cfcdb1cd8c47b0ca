"""Writing an engine to a checkpoint and making an engine what a checkpoint says.

Every function here is called by all ranks together.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from data_prep.contract.settings import InputError
from pipeline.checkpoints.format import Checkpoint, complete
from pipeline.checkpoints.run_folder import checkpoint_folder
from pipeline.checkpoints.writer import Writer
from pipeline.distributed import randomness
from pipeline.distributed.gathering import gathered, together
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
        reasons = [reason for reason in gathered(damage) if reason]
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
    if index.layout == world.layout:
        randomness.restore(checkpoint.random_states(world.rank))
    return index.step


def load_weights(
    engine: Engine,
    checkpoint: Checkpoint,
    new: tuple[str, ...] = (),
    taken: Mapping[str, str] | None = None,
    fitted: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
) -> str:
    """Take the weights alone, as the start of another training.

    Adapters of the checkpoint are merged into them; those of the engine stay as they were drawn. So do
    weights whose names begin with one of `new`, where the checkpoint has none of that name and shape; any
    other that it lacks is an `InputError`. `taken` has other prefixes under which it may have such ones, and
    `fitted` what makes a weight of another shape fit.
    Returns what was not the same on both sides, in one line.
    """
    shapes, there = engine.whole_shapes(), checkpoint.index.tensors
    other = {
        name: called
        for name, shape in shapes.items()
        for ours, theirs in (taken or {}).items()
        if name.startswith(ours) and name not in there
        if (called := theirs + name.removeprefix(ours)) in there and there[called].shape == shape
    }
    drawn = {
        name
        for name, shape in shapes.items()
        if name not in other
        if ADAPTER in name or (name.startswith(new) and (name not in there or there[name].shape != shape))
    }
    wanted = {other.get(name, name): shape for name, shape in shapes.items() if name not in drawn}
    changes = {name: change for name, change in (fitted or {}).items() if name in wanted and name in there}
    wanted |= {name: there[name].shape for name in changes}
    together(lambda: checkpoint.check_fits(wanted))
    stages = gathered((set(wanted), drawn))

    def whole(name: str) -> Tensor:
        found = checkpoint.merged(other.get(name) or name)
        return changes[name](found) if name in changes else found

    state.restore_weights(engine, whole, drawn)
    unused = {name for name in there if ADAPTER not in name}.difference(*(taken for taken, _ in stages))
    parts = {"new": set().union(*(new for _, new in stages)), "not taken": unused}
    return "; ".join(f"{what}: {summary(names)}" for what, names in parts.items() if names)


def load_part(engine: Engine, checkpoint: Checkpoint, prefix: str) -> str:
    """Take the weights whose names begin with a prefix, which the checkpoint has without it.

    Returns the names of those that it does not have, which stay as they were.
    """
    there = {f"{prefix}{name}": entry.shape for name, entry in checkpoint.index.tensors.items()}
    shapes = engine.whole_shapes()
    found = {name for name in shapes if there.get(name) == shapes[name]}
    state.restore_weights(
        engine, lambda name: checkpoint.merged(name.removeprefix(prefix)), set(shapes) - found
    )
    missing = {name for name in shapes if name.startswith(prefix) and name not in found}
    return summary(set().union(*gathered(missing)))


def load_beginning(engine: Engine, checkpoint: Checkpoint, prefix: str) -> str:
    """Take the weights whose names begin with a prefix on both sides; tells what was taken.

    `InputError` where the checkpoint lacks one of them, or has it in another shape.
    """
    shapes = engine.whole_shapes()
    wanted = {name: shape for name, shape in shapes.items() if name.startswith(prefix)}
    together(lambda: checkpoint.check_fits(wanted))
    state.restore_weights(engine, checkpoint.merged, set(shapes) - set(wanted))
    taken = set().union(*gathered(set(wanted)))
    return f"with {len(taken)} weights {prefix}* of {checkpoint.folder}"


def load_called(engine: Engine, checkpoint: Checkpoint, called: Callable[[str], str]) -> str:
    """Take every weight from that which is `called` so in a checkpoint; `InputError` where it lacks one.

    Returns which ones of the checkpoint were not taken.
    """
    wanted = {called(name): shape for name, shape in engine.whole_shapes().items()}
    together(lambda: checkpoint.check_fits(wanted))
    state.restore_weights(engine, lambda name: checkpoint.merged(called(name)))
    taken = set().union(*gathered(set(wanted)))
    return summary({name for name in checkpoint.index.tensors if ADAPTER not in name} - taken)


def check_files(checkpoint: Checkpoint, world: World) -> None:
    """`InputError` on all ranks where a file is damaged; each rank reads its share of them."""

    def check() -> None:
        if damage := checkpoint.damage(slice(world.rank, None, world.size)):
            raise InputError(f"{checkpoint.folder}: {damage}; start from another checkpoint")

    together(check)


def summary(names: set[str]) -> str:
    """Names of weights, those of one module together.

    >>> summary({"head.classify.bias", "head.classify.weight"})
    'head.classify.*'
    """
    return ", ".join(sorted({f"{name.rpartition('.')[0]}.*" for name in names}))
