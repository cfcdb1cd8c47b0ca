"""Normalisation and dropout of the residual stream."""

from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.distributed.randomness import tensor_parallel_fork
from pipeline.models.layer import Flow
from pipeline.models.linear import mark_partial


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
        if x_SBH.device.type == "cpu" and x_SBH.dtype == torch.float32:
            out: Tensor = RootMeanSquare.apply(x_SBH, self.weight, self.epsilon)
            return out
        return F.rms_norm(x_SBH, self.weight.shape, self.weight, self.epsilon)


class RootMeanSquare(torch.autograd.Function):
    """Root-mean-square normalisation in float32 as one operation, which torch has for a GPU alone.

    Made of torch's parts it takes half as long again on a CPU and keeps a copy of its input. It keeps what
    it normalised to, n = x r, of which with g = w dy the gradient is dx = r (g - n mean(g n)).
    """

    @staticmethod
    def forward(ctx: Any, x_SBH: Tensor, weight_H: Tensor, epsilon: float) -> Tensor:
        squares_SB = torch.linalg.vecdot(x_SBH, x_SBH)
        scale_SB1 = (squares_SB / x_SBH.shape[-1] + epsilon).rsqrt().unsqueeze(-1)
        normed_SBH = x_SBH * scale_SB1
        ctx.save_for_backward(normed_SBH, scale_SB1, weight_H)
        return normed_SBH * weight_H

    @staticmethod
    def backward(ctx: Any, dy_SBH: Tensor) -> tuple[Tensor, Tensor, None]:
        normed_SBH, scale_SB1, weight_H = ctx.saved_tensors
        g_SBH = dy_SBH * weight_H
        mean_SB1 = torch.linalg.vecdot(g_SBH, normed_SBH).unsqueeze(-1) / -g_SBH.shape[-1]
        dx_SBH = torch.addcmul(g_SBH, normed_SBH, mean_SB1).mul_(scale_SB1)
        return dx_SBH, (dy_SBH * normed_SBH).flatten(0, -2).sum(0), None


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
