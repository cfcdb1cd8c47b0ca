"""Normalisation and dropout of the residual stream."""

from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from megatron.core.tensor_parallel.mappings import (
    copy_to_tensor_model_parallel_region,
    reduce_from_tensor_model_parallel_region,
)
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.distributed.randomness import tensor_parallel_fork
from pipeline.models.layer import Flow
from pipeline.models.linear import mark_partial, mark_sharded


class Norm(nn.Module):
    """Layer normalisation, or root-mean-square normalisation (Zhang and Sennrich, 2019)."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig, width: int | None = None) -> None:
        """Of `width` numbers; None is the residual stream's."""
        super().__init__()
        self.epsilon, dtype, width = model.norm_epsilon, megatron.params_dtype, width or model.hidden_size
        self.centred, self.offset = model.norm == "layernorm", float(model.norm_offset)
        self.weight = nn.Parameter(torch.full((width,), 1.0 - self.offset, dtype=dtype))
        has_bias = self.centred and model.norm_bias
        self.bias = nn.Parameter(torch.zeros(width, dtype=dtype)) if has_bias else None
        for parameter in self.parameters():
            mark_partial(parameter, megatron)

    def forward(self, x_SBH: Tensor) -> Tensor:
        """Normalise every position alone."""
        if self.centred:
            return F.layer_norm(x_SBH, self.weight.shape, self.weight, self.bias, self.epsilon)
        return rms_norm(x_SBH, self.weight + self.offset if self.offset else self.weight, self.epsilon)


def rms_norm(x: Tensor, weight_H: Tensor, epsilon: float) -> Tensor:
    """Root-mean-square normalisation of the last dimension, by what is fastest where it runs."""
    if x.device.type == "cpu" and x.dtype == torch.float32:
        out: Tensor = RootMeanSquare.apply(x, weight_H, epsilon)
        return out
    return F.rms_norm(x, weight_H.shape, weight_H, epsilon)


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


class HeadNorm(nn.Module):
    """Root-mean-square normalisation of queries or keys [B, N, S, D] (Dehghani et al., 2023, section 2).

    By head all heads have the same weights [D]. Over all heads at once the weights [N D] are cut as the heads
    are, and tensor ranks add up their squares.
    """

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig, heads: int) -> None:
        super().__init__()
        self.epsilon, self.offset = model.norm_epsilon, float(model.norm_offset)
        size, ranks = model.head_width, megatron.tensor_model_parallel_size
        self.by_head, self.numbers = model.qk_norm == "head", heads * size
        rows = size if self.by_head else heads // ranks * size
        self.weight = nn.Parameter(torch.full((rows,), 1.0 - self.offset, dtype=megatron.params_dtype))
        if self.by_head:
            self.weight.partial_gradient = ranks > 1  # each rank norms its own heads
        else:
            mark_sharded(self.weight, 0, 1)

    def forward(self, x_BNSD: Tensor) -> Tensor:
        """Normalise every position alone."""
        weight = self.weight + self.offset if self.offset else self.weight
        if self.by_head:
            return rms_norm(x_BNSD, weight, self.epsilon)
        x = x_BNSD.float()
        squares_B1S1 = x.square().sum((1, 3), keepdim=True)
        squares_B1S1 = copy_to_tensor_model_parallel_region(
            reduce_from_tensor_model_parallel_region(squares_B1S1)
        )
        normed = x * (squares_B1S1 / self.numbers + self.epsilon).rsqrt()
        return normed.to(x_BNSD.dtype) * weight.view(x_BNSD.shape[1], 1, -1)


def head_norm(model: ModelConfig, megatron: ModelParallelConfig, heads: int) -> HeadNorm | None:
    """The norm of so many heads, where the model has one."""
    return None if model.qk_norm == "none" else HeadNorm(model, megatron, heads)


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
