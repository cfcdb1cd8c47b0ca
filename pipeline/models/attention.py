"""Multi-head attention with grouped queries, on itself or on an encoder's output.

Heads are cut over tensor-parallel ranks. Where key and value heads are as many as can be cut, one projection
holds for each of them: its query heads, its key, its value. A single key and value head (multi-query) is held
by every rank, and used there for that rank's query heads.
"""

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from megatron.core.tensor_parallel.mappings import (
    copy_to_tensor_model_parallel_region,
    gather_from_sequence_parallel_region,
)
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.distributed.randomness import tensor_parallel_fork
from pipeline.distributed.recompute import recomputed
from pipeline.models.cache import Cache
from pipeline.models.linear import ColumnLinear, RowLinear, WholeLinear
from pipeline.models.mimetic import alike
from pipeline.models.norm import HeadNorm, head_norm

Heads = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values [B, N, S, D]."""


class Attention(nn.Module):
    """Scaled dot products and the output projection; what is projected to what is up to the kinds below."""

    recompute_core = False
    """Whether scores are computed again in the backward pass instead of being kept."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig, causal: bool) -> None:
        super().__init__()
        self.causal, self.dropout, self.size = causal, model.attention_drop, model.head_width
        self.grouped = model.heads != model.kv_heads
        self.scale = (model.attention_scalar or model.head_width) ** -0.5 if model.scaled_attention else 1.0
        self.softcap = model.attention_softcap
        width = model.heads * model.head_width
        std = output_std(model, width)
        self.output = RowLinear(megatron, width, model.hidden_size, bias=model.bias, std=std)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """[S, B, H]; without a mask every query sees all, or where it is causal what came before."""
        core = recomputed(self._core) if self.recompute_core else self._core
        out_BNSD = core(q, k, v, mask)
        out: Tensor = self.output(out_BNSD.permute(2, 0, 1, 3).flatten(2))
        return out

    def _core(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        if self.softcap or (mask is not None and mask.requires_grad and mask.device.type == "cpu"):
            return self._in_parts(q, k, v, mask)
        options: dict[str, Any] = {
            "attn_mask": mask,
            "is_causal": self.causal and mask is None and q.shape[2] > 1,
            "scale": self.scale,
            "enable_gqa": self.grouped,
        }
        if self.dropout and self.training:
            with tensor_parallel_fork():
                return F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout, **options)
        return F.scaled_dot_product_attention(q, k, v, **options)

    def _in_parts(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """The same with capped scores or a learned bias, where every query has something to see.

        Torch's kernels know no caps (Gemma 2's report, section 2), and its fast ones for a CPU give a bias no
        gradient; what it takes instead looks for queries that see nothing.
        """
        if self.grouped:
            k, v = (heads.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for heads in (k, v))
        scores = torch.matmul(q if self.scale == 1.0 else q * self.scale, k.mT)
        if self.softcap:
            scores = softcapped(scores, self.softcap)
        if mask is None and self.causal and q.shape[2] > 1:
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        if mask is not None:
            visible = mask.dtype == torch.bool
            scores = scores.masked_fill(~mask, -math.inf) if visible else scores.add_(mask)
        shares = scores.softmax(-1)
        if self.dropout and self.training:
            with tensor_parallel_fork():
                shares = F.dropout(shares, self.dropout)
        return torch.matmul(shares, v)


class SelfAttention(Attention):
    """Attention to the own sequence, of queries and keys that may be normed."""

    query_norm: HeadNorm | None
    key_norm: HeadNorm | None

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig, causal: bool) -> None:
        super().__init__(model, megatron, causal)
        self.query_norm = head_norm(model, megatron, model.heads)
        self.key_norm = head_norm(model, megatron, model.kv_heads)

    def forward(
        self, x_SBH: Tensor, mask: Tensor | None, rotary: Tensor | None, cache: Cache | None = None
    ) -> Tensor:
        """Attend to the inputs, and to what a cache has seen before them."""
        q, k, v = self.project(x_SBH)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        if rotary is not None:
            q, k = rotate(q, rotary), rotate(k, rotary)
        if cache is not None:
            k, v = cache.append(self, k, v)
        return self.attend(q, k, v, mask)

    def project(self, x_SBH: Tensor) -> Heads:
        """Queries, keys and values of this rank's heads."""
        raise NotImplementedError


class GroupedAttention(SelfAttention):
    """Queries, keys and values of one input, by one projection."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig, causal: bool) -> None:
        super().__init__(model, megatron, causal)
        self.queries = model.heads // model.kv_heads
        fused = (model.heads + 2 * model.kv_heads) * self.size
        std = fused_std(model) if model.initialization in FAN_IN else model.initial_std
        self.qkv = ColumnLinear(megatron, model.hidden_size, fused, bias=model.has_qkv_bias, std=std)

    def project(self, x_SBH: Tensor) -> Heads:
        """Queries, keys and values of this rank's heads."""
        grouped = self.qkv(x_SBH).unflatten(2, (-1, self.queries + 2, self.size))
        q, k, v = grouped.split([self.queries, 1, 1], dim=3)
        return heads_first(q.flatten(2, 3)), heads_first(k.flatten(2, 3)), heads_first(v.flatten(2, 3))


class MultiQueryAttention(SelfAttention):
    """Queries of this rank's heads, and the one key and value head (Shazeer, 2019)."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig, causal: bool) -> None:
        super().__init__(model, megatron, causal)
        self.parts, width, hidden = megatron.sequence_parallel, model.heads * self.size, model.hidden_size
        bias = model.has_qkv_bias
        self.query = ColumnLinear(megatron, hidden, width, bias=bias, std=query_std(model))
        std = input_std(model, hidden)
        self.key_value = WholeLinear(megatron, hidden, 2 * self.size, bias=bias, std=std)
        for parameter in self.key_value.parameters():
            parameter.partial_gradient = megatron.tensor_model_parallel_size > 1

    def project(self, x_SBH: Tensor) -> Heads:
        """Queries of this rank's heads and the shared head, which each rank gives a part of its gradient."""
        q = self.query(x_SBH)
        if self.parts:
            x_SBH = gather_from_sequence_parallel_region(x_SBH, tensor_parallel_output_grad=True)
        else:
            x_SBH = copy_to_tensor_model_parallel_region(x_SBH)
        k, v = self.key_value(x_SBH).unsqueeze(2).chunk(2, dim=-1)
        return heads_first(q.unflatten(2, (-1, self.size))), heads_first(k), heads_first(v)


class CrossAttention(Attention):
    """Queries of one input, keys and values of an encoder's output."""

    def __init__(
        self, model: ModelConfig, megatron: ModelParallelConfig, memory_size: int | None = None
    ) -> None:
        """What is looked at is `memory_size` wide; None is as wide as what looks."""
        super().__init__(model, megatron, causal=False)
        width, both = model.heads * self.size, 2 * model.kv_heads * self.size
        hidden, bias = model.hidden_size, model.has_qkv_bias
        self.query = ColumnLinear(megatron, hidden, width, bias=bias, std=query_std(model))
        std = input_std(model, hidden)
        self.key_value = ColumnLinear(megatron, memory_size or hidden, both, bias=bias, std=std)
        if model.mimetic:
            self.key_value.weight.initial_change = partial(alike, model=model, std=std)

    def forward(
        self, x_SBH: Tensor, memory_SBH: Tensor, mask: Tensor | None, cache: Cache | None = None
    ) -> Tensor:
        """Attend to the encoder's output; a cache keeps its keys and values from the first time."""
        if cache is None:
            k, v = self.project_memory(memory_SBH)
        else:
            k, v = cache.once(self, lambda: self.project_memory(memory_SBH))
        return self.attend(self.project(x_SBH), k, v, mask)

    def project(self, x_SBH: Tensor) -> Tensor:
        """Queries of this rank's heads."""
        q: Tensor = self.query(x_SBH)
        return heads_first(q.unflatten(2, (-1, self.size)))

    def project_memory(self, memory_SBH: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of this rank's heads, which stay as they are while a decoder goes on."""
        both: Tensor = self.key_value(memory_SBH)
        k, v = both.unflatten(2, (-1, 2, self.size)).unbind(3)
        return heads_first(k), heads_first(v)


def self_attention(model: ModelConfig, megatron: ModelParallelConfig, causal: bool) -> SelfAttention:
    """The kind of attention that the number of key and value heads asks for."""
    multi_query = model.kv_heads == 1 and model.heads > 1
    return (MultiQueryAttention if multi_query else GroupedAttention)(model, megatron, causal)


def heads_first(x_SBND: Tensor) -> Tensor:
    """[S, B, N, D] to [B, N, S, D]."""
    return x_SBND.permute(1, 2, 0, 3)


def rotate(x_BNSD: Tensor, rotary: Tensor) -> Tensor:
    """Turn each pair (i, i + R/2) of the first R numbers of a head by its position's angle (Su et al., 2021),
    in Llama's order; angles are of R numbers."""
    cos, sin = rotary
    size = cos.shape[-1]
    if size < x_BNSD.shape[-1]:
        return torch.cat((rotate(x_BNSD[..., :size], rotary), x_BNSD[..., size:]), dim=-1)
    low, high = x_BNSD.float().chunk(2, dim=-1)
    turned = torch.cat((-high, low), dim=-1)
    return (x_BNSD.float() * cos + turned * sin).to(x_BNSD.dtype)


def softcapped(x: Tensor, cap: float) -> Tensor:
    """Values that approach but never reach a bound on either side (Bello et al., 2017)."""
    return torch.tanh(x / cap) * cap


FAN_IN = {"t5": 1.0, "switch": 0.1}
"""Variance of a matrix' entries times the number of its inputs, where that decides (Fedus et al. 2022,
section 2.4: a tenth of T5's keeps models with experts stable)."""


def output_std(model: ModelConfig, inputs: int) -> float:
    """Initial scale of a projection into the residual stream (Radford et al., 2019, section 2.3)."""
    if model.initialization in FAN_IN:
        return input_std(model, inputs)
    scaled = model.initialization == "scaled"
    return model.initial_std / math.sqrt(2 * model.layers) if scaled else model.initial_std


def input_std(model: ModelConfig, inputs: int) -> float:
    """Initial scale of every other matrix."""
    variance = FAN_IN.get(model.initialization)
    return model.initial_std if variance is None else (variance / inputs) ** 0.5


def query_std(model: ModelConfig) -> float:
    """Initial scale of queries; T5, whose scores are not scaled, has smaller ones instead."""
    small = model.head_width**-0.5 if model.initialization in FAN_IN else 1.0
    return small * input_std(model, model.hidden_size)


def fused_std(model: ModelConfig) -> Tensor:
    """[rows, 1], the initial scale of each row of a fused projection."""
    queries = model.heads // model.kv_heads
    group = [query_std(model)] * queries + [input_std(model, model.hidden_size)] * 2
    rows = torch.tensor(group).repeat_interleave(model.head_width)
    return rows.repeat(model.kv_heads).unsqueeze(1)
