"""A forward pass alone, without gradients: through one module, or from pipeline stage to pipeline stage.

Every rank has the batches of its data-parallel rank, so only what layers have made travels: its shapes ahead
of it in one small tensor, since they differ between micro batches.
"""

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from torch import Tensor

from pipeline.distributed.world import World
from pipeline.models.layer import Flow, Layer
from pipeline.parallel.stages import stage_inputs

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SHAPE_SIZE = 6
"""Numbers that say a tensor's shape: its dtype, its dimensions, its sizes (four at most)."""


def forward(
    run: Callable[[Flow], Flow],
    before: Sequence[Layer],
    own: Sequence[Layer],
    inputs: list[Flow],
    world: World,
) -> list[Flow]:
    """The outputs of each micro batch on the last pipeline stage, none on the others; all stages call this.

    `run` is this stage's layers, which are `own`; those of the stages before it are `before`. The micro
    batches follow one another through the stages, as in the first half of GPipe's schedule (Huang et al.
    2019).
    """
    found = []
    for given in inputs:
        sent_on = [name for name in stage_inputs([*before, *own], given) if name not in given]
        outputs = run(given if world.pipeline_rank == 0 else _received(before, given, world))
        if world.pipeline_rank == world.pipeline_size - 1:
            found.append(outputs)
        else:
            _send([outputs[name] for name in sent_on], world)
    return found


def _received(before: Sequence[Layer], given: Flow, world: World) -> Flow:
    """What the stage before sends, and the inputs of which layers of this and later stages have use."""
    names = stage_inputs(before, given)
    made = [name for name in names if name not in given]
    return {name: given[name] for name in names if name in given} | dict(
        zip(made, _receive(len(made), world), strict=True)
    )


def _send(found: list[Tensor], world: World) -> None:
    group = parallel_state.get_pipeline_model_parallel_group()
    to = parallel_state.get_pipeline_model_parallel_next_rank()
    shapes = torch.zeros(len(found), SHAPE_SIZE, dtype=torch.int64)
    for row, tensor in zip(shapes, found, strict=True):
        row[: 2 + tensor.dim()] = torch.tensor([DTYPES.index(tensor.dtype), tensor.dim(), *tensor.shape])
    dist.send(shapes.to(world.device), to, group=group)
    for tensor in found:
        dist.send(tensor.contiguous(), to, group=group)


def _receive(count: int, world: World) -> list[Tensor]:
    group = parallel_state.get_pipeline_model_parallel_group()
    source = parallel_state.get_pipeline_model_parallel_prev_rank()
    shapes = torch.zeros(count, SHAPE_SIZE, dtype=torch.int64, device=world.device)
    dist.recv(shapes, source, group=group)
    found = []
    for dtype, dimensions, *sizes in shapes.tolist():
        tensor = torch.empty(sizes[:dimensions], dtype=DTYPES[dtype], device=world.device)
        dist.recv(tensor, source, group=group)
        found.append(tensor)
    return found
