"""One number a position: the head of a reward model, and of a value model."""

import torch
from megatron.core import ModelParallelConfig
from megatron.core.tensor_parallel.mappings import gather_from_sequence_parallel_region
from torch import nn

from pipeline.config import ModelConfig
from pipeline.models.build import Builder
from pipeline.models.layer import Flow, Layer
from pipeline.models.linear import WholeLinear

NAME = "score"
"""Prefix of the head's weights."""


class ScalarHead(nn.Module):
    """A linear map of each hidden state to one number.

    It starts with deviations of 1 / sqrt(H + 1), so that rewards begin of size 1 (Stiennon et al. 2020).
    """

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.parts, size = megatron.sequence_parallel, model.hidden_size
        self.linear = WholeLinear(megatron, size, 1, bias=True, std=(size + 1) ** -0.5)
        for parameter in self.parameters():
            parameter.partial_gradient = False  # every rank sees the whole sequence

    def forward(self, flow: Flow) -> Flow:
        """Add `values` [B, S], float32."""
        hidden_SBH = flow["hidden"]
        if self.parts:
            hidden_SBH = gather_from_sequence_parallel_region(hidden_SBH, tensor_parallel_output_grad=False)
        values: torch.Tensor = self.linear(hidden_SBH)
        return {"values": values.squeeze(2).t().float().contiguous()}


def scalar(build: Builder) -> list[Layer]:
    """The layers behind the last block."""
    return [Layer(NAME, ScalarHead, build.common, gives=("values",), ends=("hidden",))]
