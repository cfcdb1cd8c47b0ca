"""A frozen model beside the one that learns: a teacher, a reference policy, a reward model, a text encoder.

It lies in the layout of the training, cut over the same tensor-parallel ranks and pipeline stages, and is a
plain module without optimizer, gradients or dropout: nothing that the learner draws is disturbed by it. A
model with an optimizer of its own (a value model, a generator) is a second `Engine`.
"""

from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor

from pipeline.config import ParallelConfig
from pipeline.distributed import sharding
from pipeline.distributed.world import World
from pipeline.models.layer import Flow, Layer
from pipeline.objectives.batches import Batch
from pipeline.objectives.losses import token_log_probabilities
from pipeline.parallel.examples import filled_up, tensors, unmarked
from pipeline.parallel.forward import forward
from pipeline.parallel.stack import Stack
from pipeline.parallel.stages import input_names, stage_layers


class Companion:
    """The layers of a frozen model that this rank's pipeline stage has."""

    def __init__(self, layers: list[Layer], world: World, parallel: ParallelConfig) -> None:
        """Weights are whatever memory holds until `restore`."""
        self.world, self.parallel = world, parallel
        stages = stage_layers(layers, world.pipeline_size)
        self._own = stages[world.pipeline_rank]
        self._before = list(chain(*stages[: world.pipeline_rank]))
        self._inputs = input_names(layers)
        self.stack = Stack(self._own).to(world.device).eval().requires_grad_(False)
        self.parameters = dict(self.stack.named())

    def whole_shapes(self) -> dict[str, list[int]]:
        """Shape of every parameter of this stage as a model without parallelism would hold it."""
        size = self.world.tensor_size
        return {name: list(sharding.whole_shape(p, size)) for name, p in self.parameters.items()}

    @torch.no_grad()
    def restore(self, whole: Callable[[str], Tensor]) -> None:
        """Set every weight of this stage from `whole(name)`."""
        world = self.world
        for name, parameter in self.parameters.items():
            parameter.copy_(sharding.shard(whole(name), parameter, world.tensor_rank, world.tensor_size))

    @torch.no_grad()
    def forward(self, batches: list[Batch]) -> list[Flow]:
        """Outputs by name of each micro batch, on the last pipeline stage alone; all ranks call this.

        Of a batch it takes what its layers read, so it may be given the learner's.
        """
        inputs = [self._tensors({n: a for n, a in batch.items() if n in self._inputs}) for batch in batches]
        return forward(self.stack, self._before, self._own, inputs, self.world)

    @torch.no_grad()
    def log_probabilities(self, batches: list[Batch], targets: str = "targets") -> list[Tensor]:
        """Of each batch's `targets` [B, S] the log-probability [B, S], on the last pipeline stage alone."""
        wanted = [self._tensors({n: batch[n] for n in ("tokens", targets)})[targets] for batch in batches]
        outputs = self.forward(batches)
        if not outputs:
            return []
        return [
            token_log_probabilities(flow["logits"], labels_BS)
            for flow, labels_BS in zip(outputs, wanted, strict=True)
        ]

    def _tensors(self, batch: Batch) -> Flow:
        if self.parallel.sequence:
            batch = filled_up(batch, self.world.tensor_size)
        return tensors(unmarked(batch), self.world.device)
