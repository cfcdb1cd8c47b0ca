"""What of an engine's weights and optimizer states a rank saves, and how they are restored.

A rank holds of each parameter one run of numbers of its tensor-parallel shard, flattened
(`pipeline.parallel.masters`). Saving reads these runs as they lie, without talking to other ranks.
"""

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import deepspeed
import torch
from torch import Tensor, nn

from pipeline.distributed import sharding
from pipeline.optim.names import AVERAGE
from pipeline.parallel.engine import Engine
from pipeline.parallel.masters import view

WEIGHT = "weight"


class Held(NamedTuple):
    """What this rank holds of a parameter."""

    start: int
    """Where in the flattened shard it begins."""
    tensors: dict[str, Tensor]
    """Flat views of the weight and of the optimizer's states, all of one length; writing restores them."""

    def narrow(self, start: int, end: int) -> "Held":
        """The run from `start` to `end` of it."""
        return Held(self.start + start, {kind: flat[start:end] for kind, flat in self.tensors.items()})


def share(engine: Engine) -> Iterator[tuple[str, Held]]:
    """What this rank saves: over all ranks every number once.

    Data-parallel ranks that hold copies of one another split them evenly. A tensor that tensor-parallel ranks
    hold copies of belongs to the first of them, a tied weight to the first stage that has it.
    """
    world = engine.world
    for name, parameter in engine.parameters.items():
        if _is_copy(engine, parameter):
            continue
        held = _held(engine, parameter)
        if held is not None and engine.masters.is_whole(parameter):
            ranks = sharding.cut_further(parameter)[1]  # neighbours, which hold no copies of one another
            size, rank = -(-parameter.numel() * ranks // world.data_size), world.data_rank // ranks
            held = held.narrow(size * rank, size * (rank + 1))
        if held is not None and held.tensors[WEIGHT].numel():
            yield name, held


def whole_share(engine: Engine) -> Iterator[tuple[str, str, Tensor]]:
    """The optimizer's whole states, as (parameter, state, tensor): the first rank with them saves them."""
    if engine.world.tensor_rank or engine.world.data_rank:
        return
    for name, parameter in engine.parameters.items():
        if not _is_copy(engine, parameter):
            yield from ((name, kind, found) for kind, found in engine.masters.whole_states(name).items())


def _is_copy(engine: Engine, parameter: nn.Parameter) -> bool:
    copied = engine.world.tensor_rank > 0 and not sharding.is_sharded(parameter)
    return copied or getattr(parameter, "ds_pipe_replicated", False)


@torch.no_grad()
def restore_weights(engine: Engine, whole: Callable[[str], Tensor], left_out: Collection[str] = ()) -> None:
    """Set every weight of this stage but some from `whole(name)`; all ranks call this together."""
    for name, parameter in engine.parameters.items():
        if name in left_out:
            continue
        part = _shard(engine, parameter, whole(name))
        if engine.zero_stage == 3:
            with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
                parameter.copy_(part)
        else:
            parameter.copy_(part)
        held = _held(engine, parameter)
        for kind in (WEIGHT, AVERAGE):
            if held is not None and kind in held.tensors:
                _put(held, kind, part)


@torch.no_grad()
def restore_states(engine: Engine, step: int, whole: Callable[[str, str], Tensor]) -> None:
    """Set every optimizer state of this stage from `whole(name, kind)`, and the number of steps taken."""
    engine.masters.set_steps(step)
    for name, parameter in engine.parameters.items():
        held = _held(engine, parameter)
        for kind in engine.masters.kinds(name):
            _put(held, kind, _shard(engine, parameter, whole(name, kind)))
        for kind, state in engine.masters.whole_states(name).items():
            state.copy_(whole(name, kind))


def _put(held: Held | None, kind: str, part: Tensor) -> None:
    if held is not None:
        flat = held.tensors[kind]
        flat.copy_(part.flatten()[held.start : held.start + flat.numel()])


def _shard(engine: Engine, parameter: nn.Parameter, whole: Tensor) -> Tensor:
    part = sharding.shard(whole, parameter, engine.world.tensor_rank, engine.world.tensor_size)
    return part.to(engine.world.device)


def _held(engine: Engine, parameter: nn.Parameter) -> Held | None:
    """None where this rank's partition has nothing of the parameter."""
    run = engine.masters.run(parameter)
    if run is None:
        return None
    weight = view(run.master, run)
    return Held(run.start, {WEIGHT: weight} | engine.masters.states(parameter))
