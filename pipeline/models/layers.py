"""The parts of a transformer, from Megatron-core's tensor-parallel linear layers and torch's attention.

Activations are sequence first, `x_SBH`, as Megatron-core has them. A layer takes and returns either hidden
states alone, or a tuple (hidden states, positions [B, S], segments [B, S]) when attention stays inside
documents.
"""

import math
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig, parallel_state
from megatron.core.tensor_parallel.layers import (
    ColumnParallelLinear,
    RowParallelLinear,
    set_tensor_model_parallel_attributes,
)
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.parallel.randomness import tensor_parallel_fork

Activations: TypeAlias = Tensor | tuple[Tensor, ...]


def megatron_config(dtype: torch.dtype) -> ModelParallelConfig:
    """What Megatron-core's layers need to know; weights are filled in by `initialize`, not by them."""
    return ModelParallelConfig(
        tensor_model_parallel_size=parallel_state.get_tensor_model_parallel_world_size(),
        params_dtype=dtype,
        use_cpu_initialization=not torch.cuda.is_available(),
        perform_initialization=False,
        gradient_accumulation_fusion=False,
    )


def column_linear(
    megatron: ModelParallelConfig, inputs: int, outputs: int, *, bias: bool, std: float, fused: int = 1
) -> ColumnParallelLinear:
    """A linear layer whose outputs are cut over tensor-parallel ranks, each of `fused` matrices alone."""
    layer = ColumnParallelLinear(inputs, outputs, config=megatron, init_method=_never, bias=bias)
    for parameter in layer.parameters():
        mark_sharded(parameter, 0, fused)
    if bias:
        nn.init.zeros_(layer.bias)
    layer.weight.initial_std = std
    return layer


def row_linear(
    megatron: ModelParallelConfig, inputs: int, outputs: int, *, bias: bool, std: float
) -> RowParallelLinear:
    """A linear layer whose inputs are cut over tensor-parallel ranks; the outputs are summed."""
    layer = RowParallelLinear(
        inputs,
        outputs,
        config=megatron,
        init_method=_never,
        bias=bias,
        input_is_parallel=True,
        skip_bias_add=False,
    )
    mark_sharded(layer.weight, 1, 1)
    if bias:
        nn.init.zeros_(layer.bias)
    layer.weight.initial_std = std
    return layer


def mark_sharded(parameter: Tensor, dim: int, stride: int) -> None:
    """Mark how a parameter is cut, whether or not Megatron-core has marked it already."""
    for attribute in ("tensor_model_parallel", "partition_dim", "partition_stride"):
        if hasattr(parameter, attribute):
            delattr(parameter, attribute)
    set_tensor_model_parallel_attributes(parameter, is_parallel=True, dim=dim, stride=stride)


def _never(weight: Tensor) -> None:
    raise AssertionError("weights are filled in by pipeline.models.initialize")


class Norm(nn.Module):
    """Layer normalisation, or root-mean-square normalisation (Zhang and Sennrich, 2019)."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.epsilon = config.norm_epsilon
        self.weight = nn.Parameter(torch.ones(config.hidden_size, dtype=dtype))
        centred = config.norm == "layernorm"
        self.bias = nn.Parameter(torch.zeros(config.hidden_size, dtype=dtype)) if centred else None

    def forward(self, inputs: Activations) -> Activations:
        """Normalise the hidden states; what travels with them passes through."""
        if isinstance(inputs, tuple):
            return (self.normalise(inputs[0]), *inputs[1:])
        return self.normalise(inputs)

    def normalise(self, x_SBH: Tensor) -> Tensor:
        """The hidden states alone."""
        if self.bias is None:
            return F.rms_norm(x_SBH, self.weight.shape, self.weight, self.epsilon)
        return F.layer_norm(x_SBH, self.weight.shape, self.weight, self.bias, self.epsilon)


class Attention(nn.Module):
    """Causal self-attention with grouped queries; heads are cut over tensor-parallel ranks.

    The fused projection holds, for each group of key and value heads: its query heads, its key, its value.
    """

    def __init__(self, config: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.head_size = config.hidden_size // config.heads
        self.queries = config.heads // config.key_value_heads
        self.groups = config.key_value_heads // megatron.tensor_model_parallel_size
        self.dropout = config.dropout
        fused_size = (config.heads + 2 * config.key_value_heads) * self.head_size
        std = config.initial_std
        self.qkv = column_linear(megatron, config.hidden_size, fused_size, bias=config.bias, std=std)
        self.output = row_linear(
            megatron, config.hidden_size, config.hidden_size, bias=config.bias, std=residual_std(config)
        )

    def forward(self, x_SBH: Tensor, mask: Tensor | None, rotary: "Rotary | None") -> Tensor:
        """Attend; `mask` [B, 1, S, S] is True where a query may look, None is plainly causal."""
        qkv, _ = self.qkv(x_SBH)
        length, batch, _ = qkv.shape
        qkv = qkv.view(length, batch, self.groups, self.queries + 2, self.head_size)
        q, k, v = qkv.split([self.queries, 1, 1], dim=3)
        q, k, v = (part.reshape(length, batch, -1, self.head_size).permute(1, 2, 0, 3) for part in (q, k, v))
        if rotary is not None:
            q, k = rotary.rotate(q), rotary.rotate(k)
        out_BNSD = self._attend(q, k, v, mask)
        out, _ = self.output(out_BNSD.permute(2, 0, 1, 3).reshape(length, batch, -1))
        return out

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        attend = F.scaled_dot_product_attention
        shared: dict[str, Any] = {
            "attn_mask": mask,
            "is_causal": mask is None,
            "enable_gqa": self.queries > 1,
        }
        if self.dropout and self.training:
            with tensor_parallel_fork():
                return attend(q, k, v, dropout_p=self.dropout, **shared)
        return attend(q, k, v, **shared)


class Rotary:
    """Rotary position embedding (Su et al., 2021), halves convention as in Llama."""

    def __init__(self, positions: Tensor, head_size: int, base: float = 10000.0) -> None:
        """`positions` [S], or [B, S] where they restart with each document."""
        steps = torch.arange(0, head_size, 2, dtype=torch.float32, device=positions.device)
        angles = positions.float().unsqueeze(-1) * base ** (-steps / head_size)
        angles = torch.cat((angles, angles), dim=-1)
        if angles.dim() == 3:
            angles = angles.unsqueeze(1)
        self.cos, self.sin = angles.cos(), angles.sin()

    def rotate(self, x_BNSD: Tensor) -> Tensor:
        """Turn each pair (i, i + D/2) by its position's angle."""
        low, high = x_BNSD.float().chunk(2, dim=-1)
        turned = torch.cat((-high, low), dim=-1)
        return (x_BNSD.float() * self.cos + turned * self.sin).to(x_BNSD.dtype)


class MLP(nn.Module):
    """Two linear layers with GELU (tanh form, as GPT-2), or three with a SiLU gate (Shazeer, 2020)."""

    def __init__(self, config: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.gated = config.activation == "swiglu"
        fused = 2 if self.gated else 1
        self.up = column_linear(
            megatron,
            config.hidden_size,
            fused * config.mlp_size,
            bias=config.bias,
            std=config.initial_std,
            fused=fused,
        )
        self.down = row_linear(
            megatron, config.mlp_size, config.hidden_size, bias=config.bias, std=residual_std(config)
        )

    def forward(self, x_SBH: Tensor) -> Tensor:
        """Apply to every position alone."""
        inner, _ = self.up(x_SBH)
        if self.gated:
            gate, value = inner.chunk(2, dim=-1)
            inner = F.silu(gate) * value
        else:
            inner = F.gelu(inner, approximate="tanh")
        out, _ = self.down(inner)
        return out


class Block(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype) -> None:
        super().__init__()
        megatron = megatron_config(dtype)
        self.head_size = config.hidden_size // config.heads
        self.rotary = config.positions == "rope"
        self.attention_norm = Norm(config, dtype)
        self.attention = Attention(config, megatron)
        self.mlp_norm = Norm(config, dtype)
        self.mlp = MLP(config, megatron)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, inputs: Activations) -> Activations:
        """x + attention(norm(x)), then x + mlp(norm(x))."""
        x_SBH, *where = inputs if isinstance(inputs, tuple) else (inputs,)
        mask = segment_mask(where[1]) if where else None
        rotary = self._rotary(x_SBH, where[0] if where else None)
        x_SBH = x_SBH + self.dropout(self.attention(self.attention_norm.normalise(x_SBH), mask, rotary))
        x_SBH = x_SBH + self.dropout(self.mlp(self.mlp_norm.normalise(x_SBH)))
        return (x_SBH, *where) if where else x_SBH

    def _rotary(self, x_SBH: Tensor, positions: Tensor | None) -> Rotary | None:
        if not self.rotary:
            return None
        if positions is None:
            positions = torch.arange(x_SBH.shape[0], device=x_SBH.device)
        return Rotary(positions, self.head_size)


def segment_mask(segments_BS: Tensor) -> Tensor:
    """[B, 1, S, S], True where a query may look: at or before it, in its own document."""
    same = segments_BS.unsqueeze(2) == segments_BS.unsqueeze(1)
    return same.tril().unsqueeze(1)


def residual_std(config: ModelConfig) -> float:
    """Initial scale of projections into the residual stream (Radford et al., 2019, section 2.3)."""
    return config.initial_std / math.sqrt(2 * config.layers)
