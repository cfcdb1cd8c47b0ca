"""A frozen model beside the one that learns: a teacher, a reference policy, a reward model, a text encoder.

It lies in the layout of the training, cut over the same tensor-parallel ranks and pipeline stages, and is a
plain module without optimizer, gradients or dropout: nothing that the learner draws is disturbed by it. A
model with an optimizer of its own (a value model, a generator) is a second `Engine`.
"""

from collections.abc import Callable
from itertools import chain

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from torch import Tensor

from pipeline.config import ParallelConfig
from pipeline.distributed import sharding
from pipeline.distributed.world import World
from pipeline.models.layer import Flow, Layer
from pipeline.objectives.batches import Batch
from pipeline.parallel.forward import forward
from pipeline.parallel.model import ModelInLayout
from pipeline.parallel.stack import Stack
from pipeline.parallel.stages import stage_layers


class Companion(ModelInLayout):
    """The layers of a frozen model that this rank's pipeline stage has."""

    def __init__(self, layers: list[Layer], world: World, parallel: ParallelConfig) -> None:
        """Weights are whatever memory holds until `restore`."""
        super().__init__(layers, world, parallel)
        stages = stage_layers(layers, world.pipeline_size)
        self._own = stages[world.pipeline_rank]
        self._before = list(chain(*stages[: world.pipeline_rank]))
        self.stack = Stack(self._own).to(world.device).eval().requires_grad_(False)
        self.parameters = dict(self.stack.named())

    @torch.no_grad()
    def restore(self, whole: Callable[[str], Tensor]) -> None:
        """Set every weight of this stage from `whole(name)`."""
        world = self.world
        for name, parameter in self.parameters.items():
            parameter.copy_(sharding.shard(whole(name), parameter, world.tensor_rank, world.tensor_size))

    @torch.no_grad()
    def forward(self, batches: list[Batch]) -> list[Flow]:
        """Outputs by name of each micro batch, on the last pipeline stage alone; all ranks call this.

        It may be given the learner's batches.
        """
        inputs = [self._read(batch) for batch in batches]
        return forward(self.stack, self._before, self._own, inputs, self.world)

    @torch.no_grad()
    def everywhere(self, batches: list[Batch], name: str) -> list[Tensor]:
        """An output of each micro batch on every pipeline stage: what a learner reads as an input."""
        found = [outputs[name].contiguous() for outputs in self.forward(batches)]
        if self.world.pipeline_size == 1:
            return found
        group = parallel_state.get_pipeline_model_parallel_group()
        last = parallel_state.get_pipeline_model_parallel_last_rank()
        told = [[(tensor.shape, tensor.dtype) for tensor in found]]
        dist.broadcast_object_list(told, last, group=group)
        found = found or [torch.empty(shape, dtype=kind, device=self.world.device) for shape, kind in told[0]]
        for tensor in found:
            dist.broadcast(tensor, last, group=group)
        return found
