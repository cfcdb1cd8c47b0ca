"""The MLP of a transformer layer."""

from megatron.core import ModelParallelConfig
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.models.activations import ACTIVATIONS
from pipeline.models.attention import input_std, output_std
from pipeline.models.linear import ColumnLinear, RowLinear


class MLP(nn.Module):
    """Two linear layers with a nonlinearity, or three of which one is a gate (Shazeer, 2020)."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig, times: int = 1) -> None:
        """`times` as wide as the model's."""
        super().__init__()
        self.gated, self.activation = model.gated, ACTIVATIONS[model.activation]
        fused = 2 if model.gated else 1
        hidden, inner = model.hidden_size, times * model.mlp_size
        std = input_std(model, hidden)
        self.up = ColumnLinear(megatron, hidden, fused * inner, bias=model.bias, std=std, fused=fused)
        self.down = RowLinear(megatron, inner, hidden, bias=model.bias, std=output_std(model, inner))

    def forward(self, x_SBH: Tensor) -> Tensor:
        """Apply to every position alone."""
        inner: Tensor = self.up(x_SBH)
        if self.gated:
            gate, value = inner.chunk(2, dim=-1)
            inner = self.activation(gate) * value
        else:
            inner = self.activation(inner)
        out: Tensor = self.down(inner)
        return out
