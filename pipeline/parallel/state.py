"""Where an engine keeps the float32 weights and Adam moments, whatever its layout and ZeRO stage.

This is the one place that knows how DeepSpeed lays them out. A rank holds of each parameter one run of
numbers of its tensor-parallel shard, flattened: all of it (stage 0), what its flat partition covers of it
(1 and 2), or an equal share (3). Saving reads these runs as they lie, without talking to other ranks.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Literal, NamedTuple

import deepspeed
import torch
from deepspeed.utils import safe_get_local_fp32_param, safe_get_local_optimizer_state
from torch import Tensor, nn

from pipeline.checkpoints.format import Moment
from pipeline.distributed import sharding
from pipeline.parallel.adam import set_steps
from pipeline.parallel.engine import Engine

Kind = Literal["weight", "exp_avg", "exp_avg_sq"]
MOMENTS: tuple[Moment, ...] = ("exp_avg", "exp_avg_sq")


class Held(NamedTuple):
    """What this rank holds of a parameter."""

    start: int
    """Where in the flattened shard it begins."""
    tensors: dict[Kind, Tensor]
    """Flat views of the weight and the moments, float32, all of one length; writing to them is restoring."""

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
        copied = world.tensor_rank > 0 and not sharding.is_sharded(parameter)
        if copied or getattr(parameter, "ds_pipe_replicated", False):
            continue
        held = _held(engine, parameter)
        if held is not None and engine.zero_stage == 0:
            size = -(-parameter.numel() // world.data_size)
            held = held.narrow(size * world.data_rank, size * (world.data_rank + 1))
        if held is not None and held.tensors["weight"].numel():
            yield name, held


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
        _put(_held(engine, parameter), "weight", part)


@torch.no_grad()
def restore_moments(engine: Engine, step: int, whole: Callable[[str, Moment], Tensor]) -> None:
    """Set every Adam moment of this stage from `whole(name, kind)`, and the number of steps taken."""
    set_steps(engine.engine.optimizer, engine.parameters.values(), engine.zero_stage, step)
    for name, parameter in engine.parameters.items():
        for kind in MOMENTS:
            _put(_held(engine, parameter), kind, _shard(engine, parameter, whole(name, kind)))


def _put(held: Held | None, kind: Kind, part: Tensor) -> None:
    if held is not None:
        flat = held.tensors[kind]
        flat.copy_(part.flatten()[held.start : held.start + flat.numel()])


def _shard(engine: Engine, parameter: nn.Parameter, whole: Tensor) -> Tensor:
    part = sharding.shard(whole, parameter, engine.world.tensor_rank, engine.world.tensor_size)
    return part.to(engine.world.device)


def _held(engine: Engine, parameter: nn.Parameter) -> Held | None:
    """None where this rank's partition has nothing of the parameter."""
    if engine.zero_stage == 0:
        state = engine.engine.optimizer.state[parameter]
        whole: dict[Kind, Tensor] = {kind: state[kind].view(-1) for kind in MOMENTS}
        whole["weight"] = parameter.detach().view(-1)
        return Held(0, whole)
    if engine.zero_stage == 3:
        return _held_by_stage_3(engine, parameter)
    fragment = parameter._hp_mapping
    if fragment is None:
        return None
    tensors: dict[Kind, Tensor] = {kind: fragment.get_hp_fragment(kind) for kind in MOMENTS}
    tensors["weight"] = fragment.get_hp_fragment()
    return Held(fragment.lp_fragment_address.start, tensors)


def _held_by_stage_3(engine: Engine, parameter: nn.Parameter) -> Held:
    """Equal shares in rank order; the last ones are padded where the numbers do not divide."""
    tensors: dict[Kind, Tensor] = {kind: safe_get_local_optimizer_state(parameter, kind) for kind in MOMENTS}
    tensors["weight"] = safe_get_local_fp32_param(parameter)
    size = tensors["weight"].numel()
    start = min(size * engine.world.data_rank, parameter.ds_numel)
    return Held(start, tensors).narrow(0, min(size, parameter.ds_numel - start))
