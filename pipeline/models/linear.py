"""Megatron-core's tensor-parallel linear layers and how their parameters are marked.

Activations are sequence first, `x_SBH`. With sequence parallelism each tensor-parallel rank holds a part of S
between the linear layers, which gather and scatter it.
"""

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


def megatron_config(dtype: torch.dtype, sequence_parallel: bool = False) -> ModelParallelConfig:
    """What Megatron-core's layers need to know; weights are filled in by `initialize`, not by them."""
    size = parallel_state.get_tensor_model_parallel_world_size()
    return ModelParallelConfig(
        tensor_model_parallel_size=size,
        sequence_parallel=sequence_parallel and size > 1,
        params_dtype=dtype,
        use_cpu_initialization=not torch.cuda.is_available(),
        perform_initialization=False,
        gradient_accumulation_fusion=False,
    )


class ColumnLinear(ColumnParallelLinear):
    """A linear layer whose outputs are cut over tensor-parallel ranks, each of `fused` matrices alone."""

    def __init__(
        self,
        megatron: ModelParallelConfig,
        inputs: int,
        outputs: int,
        *,
        bias: bool,
        std: float | Tensor,
        fused: int = 1,
    ) -> None:
        super().__init__(inputs, outputs, config=megatron, init_method=_never, bias=bias)
        self.alone = megatron.tensor_model_parallel_size == 1
        self.megatron, self.inputs, self.outputs, self.fused = megatron, inputs, outputs, fused
        self.lora: nn.Module | None = None
        for parameter in self.parameters():
            mark_sharded(parameter, 0, fused)
        if bias:
            nn.init.zeros_(self.bias)
        self.weight.initial_std = std

    def forward(self, x: Tensor) -> Tensor:
        """This rank's outputs; without other ranks there is nothing to send, and torch's kernel does it."""
        out: Tensor = F.linear(x, self.weight, self.bias) if self.alone else super().forward(x)[0]
        return out if self.lora is None else out + self.lora(x)


class RowLinear(RowParallelLinear):
    """A linear layer whose inputs are cut over tensor-parallel ranks; the outputs are summed."""

    def __init__(
        self, megatron: ModelParallelConfig, inputs: int, outputs: int, *, bias: bool, std: float
    ) -> None:
        super().__init__(
            inputs,
            outputs,
            config=megatron,
            init_method=_never,
            bias=bias,
            input_is_parallel=True,
            skip_bias_add=False,
        )
        self.alone = megatron.tensor_model_parallel_size == 1
        self.megatron, self.inputs, self.outputs = megatron, inputs, outputs
        self.lora: nn.Module | None = None
        mark_sharded(self.weight, 1, 1)
        if bias:
            nn.init.zeros_(self.bias)
            mark_partial(self.bias, megatron)
        self.weight.initial_std = std

    def forward(self, x: Tensor) -> Tensor:
        """The sum over ranks, or this rank's part of its sequence."""
        out: Tensor = F.linear(x, self.weight, self.bias) if self.alone else super().forward(x)[0]
        return out if self.lora is None else out + self.lora(x)


class WholeLinear(nn.Linear):
    """A linear layer that every tensor-parallel rank holds whole."""

    def __init__(
        self, megatron: ModelParallelConfig, inputs: int, outputs: int, *, bias: bool, std: float
    ) -> None:
        super().__init__(inputs, outputs, bias=bias, dtype=megatron.params_dtype)
        self.megatron, self.inputs, self.outputs = megatron, inputs, outputs
        self.lora: nn.Module | None = None
        if bias:
            nn.init.zeros_(self.bias)
        self.weight.initial_std = std
        for parameter in self.parameters():
            mark_partial(parameter, megatron)

    def reset_parameters(self) -> None:
        """Weights are filled in by `pipeline.models.initialize`."""

    def forward(self, x: Tensor) -> Tensor:
        """Every rank's own product."""
        out = super().forward(x)
        return out if self.lora is None else out + self.lora(x)


Linear: TypeAlias = ColumnLinear | RowLinear | WholeLinear
"""The kinds; each may have an adapter beside it (`pipeline.models.lora`)."""


def mark_sharded(parameter: Tensor, dim: int, stride: int) -> None:
    """Mark how a parameter is cut, whether or not Megatron-core has marked it already."""
    for attribute in ("tensor_model_parallel", "partition_dim", "partition_stride"):
        if hasattr(parameter, attribute):
            delattr(parameter, attribute)
    set_tensor_model_parallel_attributes(parameter, is_parallel=True, dim=dim, stride=stride)


def mark_partial(parameter: Tensor, megatron: ModelParallelConfig) -> None:
    """Mark a parameter that each rank holds whole and uses on its part of the sequence: gradients add up."""
    parameter.partial_gradient = megatron.sequence_parallel


def own_rows(whole: Tensor, dim: int, megatron: ModelParallelConfig) -> Tensor:
    """This tensor rank's part of the sequence, which lies along `dim`."""
    if not megatron.sequence_parallel:
        return whole
    rank = parallel_state.get_tensor_model_parallel_rank()
    return whole.chunk(megatron.tensor_model_parallel_size, dim)[rank]


def whole_length(hidden_SBH: Tensor, megatron: ModelParallelConfig) -> int:
    """S over all tensor ranks."""
    parts: int = megatron.tensor_model_parallel_size if megatron.sequence_parallel else 1
    return hidden_SBH.shape[0] * parts


def _never(weight: Any) -> None:
    raise AssertionError("weights are filled in by pipeline.models.initialize")
