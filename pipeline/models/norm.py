"""Normalisation and dropout of the residual stream."""

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from torch import Tensor, nn

from pipeline.models.config import ModelConfig
from pipeline.models.layer import Flow
from pipeline.models.linear import mark_partial
from pipeline.parallel.randomness import tensor_parallel_fork


class Norm(nn.Module):
    """Layer normalisation, or root-mean-square normalisation (Zhang and Sennrich, 2019)."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.epsilon, dtype = model.norm_epsilon, megatron.params_dtype
        self.centred = model.norm == "layernorm"
        self.weight = nn.Parameter(torch.ones(model.hidden_size, dtype=dtype))
        has_bias = self.centred and model.norm_bias
        self.bias = nn.Parameter(torch.zeros(model.hidden_size, dtype=dtype)) if has_bias else None
        for parameter in self.parameters():
            mark_partial(parameter, megatron)

    def forward(self, x_SBH: Tensor) -> Tensor:
        """Normalise every position alone."""
        if self.centred:
            return F.layer_norm(x_SBH, self.weight.shape, self.weight, self.bias, self.epsilon)
        return F.rms_norm(x_SBH, self.weight.shape, self.weight, self.epsilon)


def normalise(norm: nn.Module, flow: Flow) -> Flow:
    """A norm as a layer of its own."""
    return {"hidden": norm(flow["hidden"])}


class Dropout(nn.Module):
    """Dropout of the residual stream: tensor ranks that hold parts of the sequence draw different numbers."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.probability, self.parts = model.dropout, megatron.sequence_parallel

    def forward(self, x_SBH: Tensor) -> Tensor:
        """Drop while training."""
        if not (self.training and self.probability):
            return x_SBH
        if self.parts:
            with tensor_parallel_fork():
                return F.dropout(x_SBH, self.probability)
        return F.dropout(x_SBH, self.probability)
