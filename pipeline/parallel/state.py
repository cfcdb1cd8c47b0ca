"""Weights and Adam moments of an engine as whole tensors, whatever layout and ZeRO stage they live in.

This is the one place that knows where DeepSpeed keeps them. Every function here is collective: all ranks of
the world call it together.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import deepspeed
import torch
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
)
from torch import Tensor, nn

from pipeline.parallel import sharding
from pipeline.parallel.adam import set_steps
from pipeline.parallel.engine import Engine
from pipeline.training.checkpoint import Moment

Kind = Literal["weight", "exp_avg", "exp_avg_sq"]
MOMENTS: tuple[Moment, ...] = ("exp_avg", "exp_avg_sq")
KINDS: tuple[Kind, ...] = ("weight", *MOMENTS)


@torch.no_grad()
def whole_tensors(engine: Engine) -> Iterator[tuple[str, Kind, Tensor, bool]]:
    """Every float32 weight and moment of this pipeline stage: name, kind, whole tensor, whether to keep it.

    Each tensor is made on all ranks of the stage and is to be kept on one, the one with the least so far, so
    that they share the work of writing. A tied weight belongs to the first stage that has it.
    """
    world = engine.world
    own_place = world.data_rank * world.tensor_size + world.tensor_rank
    loads = [0] * (world.tensor_size * world.data_size)
    owned = [item for item in engine.parameters.items() if not getattr(item[1], "ds_pipe_replicated", False)]
    for name, parameter in owned:
        keeper = loads.index(min(loads))
        loads[keeper] += sharding.whole_shape(parameter, world.tensor_size).numel()
        for kind in KINDS:
            part = _read(engine, parameter, kind)
            yield name, kind, sharding.gather(part, parameter), keeper == own_place


@torch.no_grad()
def restore_weights(engine: Engine, whole: Callable[[str], Tensor]) -> None:
    """Set every weight of this stage from `whole(name)`."""
    for name, parameter in engine.parameters.items():
        _write_weight(engine, parameter, _shard(engine, parameter, whole(name)))


@torch.no_grad()
def restore_moments(engine: Engine, step: int, whole: Callable[[str, Moment], Tensor]) -> None:
    """Set every Adam moment of this stage from `whole(name, kind)`, and the number of steps taken."""
    set_steps(engine.engine.optimizer, engine.parameters.values(), engine.zero_stage, step)
    for name, parameter in engine.parameters.items():
        for kind in MOMENTS:
            part = _shard(engine, parameter, whole(name, kind))
            if engine.zero_stage:
                safe_set_full_optimizer_state(parameter, part, kind)
            else:
                engine.engine.optimizer.state[parameter][kind].copy_(part)


def _shard(engine: Engine, parameter: nn.Parameter, whole: Tensor) -> Tensor:
    part = sharding.shard(whole, parameter, engine.world.tensor_rank, engine.world.tensor_size)
    return part.to(engine.world.device)


def _read(engine: Engine, parameter: nn.Parameter, kind: Kind) -> Tensor:
    if not engine.zero_stage:
        state = engine.engine.optimizer.state[parameter]
        return parameter.detach().float() if kind == "weight" else state[kind]
    if kind == "weight":
        return safe_get_full_fp32_param(parameter)
    return safe_get_full_optimizer_state(parameter, kind)


def _write_weight(engine: Engine, parameter: nn.Parameter, part: Tensor) -> None:
    if engine.zero_stage == 3:
        with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
            parameter.copy_(part)
    else:
        parameter.copy_(part)
    if engine.zero_stage:
        safe_set_full_fp32_param(parameter, part)
