"""What a model in a layout can be asked, whether it learns (`Engine`) or stands beside one (`Companion`)."""

from abc import ABC, abstractmethod
from collections.abc import Collection

import torch
from torch import Tensor, nn

from pipeline.config import ParallelConfig
from pipeline.distributed import sharding
from pipeline.distributed.world import World
from pipeline.models.layer import Flow, Layer
from pipeline.objectives.batches import Batch
from pipeline.objectives.losses import token_log_probabilities
from pipeline.parallel.examples import filled_up, tensors, unmarked, with_target_segments
from pipeline.parallel.stages import input_names


class ModelInLayout(ABC):
    """A model of which this rank has `parameters`, by their layout-free names."""

    parameters: dict[str, nn.Parameter]

    def __init__(self, layers: list[Layer], world: World, parallel: ParallelConfig) -> None:
        self.world, self.parallel = world, parallel
        self._inputs = input_names(layers)

    @abstractmethod
    def forward(self, batches: list[Batch]) -> list[Flow]:
        """Outputs by name of each micro batch, on the last pipeline stage alone; all ranks call this.

        The model is as in evaluation, without dropout. Of a batch it takes what its layers read.
        """

    @torch.no_grad()
    def log_probabilities(self, batches: list[Batch]) -> list[Tensor]:
        """Of each batch's targets [B, S] the log-probability [B, S], on the last pipeline stage alone."""
        outputs = self.forward(batches)
        return [
            token_log_probabilities(flow["logits"], self._chosen(batch, ("tokens", "targets"))["targets"])
            for flow, batch in zip(outputs, batches if outputs else [], strict=True)
        ]

    def whole_shapes(self) -> dict[str, list[int]]:
        """Shape of every parameter of this stage as a model without parallelism would hold it."""
        size = self.world.tensor_size
        return {name: list(sharding.whole_shape(p, size)) for name, p in self.parameters.items()}

    def _read(self, batch: Batch) -> Flow:
        """What the model's layers read of a batch."""
        return self._chosen(unmarked(batch), self._inputs)

    def _chosen(self, batch: Batch, names: Collection[str]) -> Flow:
        return self._tensors({name: array for name, array in batch.items() if name in names})

    def _tensors(self, batch: Batch) -> Flow:
        if self.parallel.sequence:
            batch = filled_up(batch, self.world.tensor_size)
        if "target_segments" in self._inputs:
            batch = with_target_segments(batch)
        return tensors(batch, self.world.device)
