"""The pooled first token of an encoder that has no language head."""

import torch
from megatron.core import ModelParallelConfig
from megatron.core.tensor_parallel.mappings import gather_from_sequence_parallel_region
from torch import nn

from pipeline.config import ModelConfig
from pipeline.models.build import Builder
from pipeline.models.layer import Flow, Layer
from pipeline.models.linear import WholeLinear


class Pooler(nn.Module):
    """A dense layer and tanh over the first token's hidden state (Devlin et al. 2019)."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.parts, size = megatron.sequence_parallel, model.hidden_size
        self.dense = WholeLinear(megatron, size, size, bias=True, std=model.initial_std)
        for parameter in self.parameters():
            parameter.partial_gradient = False  # every rank sees the first token, whoever holds it

    def forward(self, flow: Flow) -> Flow:
        """Add `pooled` [B, H]."""
        hidden_SBH = flow["hidden"]
        if self.parts:
            hidden_SBH = gather_from_sequence_parallel_region(hidden_SBH, tensor_parallel_output_grad=False)
        return {"pooled": torch.tanh(self.dense(hidden_SBH[0]))}


def bare(build: Builder) -> list[Layer]:
    """What stands behind an encoder that predicts no words: the pooled first token, if any."""
    pooled = Layer("pooler", Pooler, build.common, gives=("pooled",))
    return [pooled] if build.model.pooler else []
