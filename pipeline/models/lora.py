"""Low-rank adapters of linear layers (Hu et al. 2022): beside W x also B A x, times alpha / rank.

A narrows to the rank, B widens to the outputs and starts at zero, so that nothing changes at first. Both are
parallel layers themselves: where W is cut by outputs, B is cut as W is and every rank holds A; where W is cut
by inputs, A is cut and every rank holds B.

Checkpoints hold all weights, the frozen ones too, so that a run goes on and is exported when what it started
from has moved or is gone. They are merged when a model is loaded to be used (`Checkpoint.merged`).
"""

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.config import LoRA
from pipeline.distributed.randomness import tensor_parallel_fork
from pipeline.models.linear import ColumnLinear, Linear, RowLinear, WholeLinear
from pipeline.optim.names import fits


class Adapter(nn.Module):
    """B A x of one linear layer."""

    def __init__(self, base: Linear, lora: LoRA) -> None:
        super().__init__()
        megatron, inputs, outputs = base.megatron, base.inputs, base.outputs
        std = (3 * inputs) ** -0.5  # as uniform numbers up to 1 / sqrt(inputs) have
        self.scale, self.dropout = lora.scale, lora.dropout
        self.narrow: Linear
        self.widen: Linear
        if isinstance(base, RowLinear):
            self.narrow = RowLinear(megatron, inputs, lora.rank, bias=False, std=std)
        else:
            self.narrow = WholeLinear(megatron, inputs, lora.rank, bias=False, std=std)
        if isinstance(base, ColumnLinear):
            self.widen = ColumnLinear(megatron, lora.rank, outputs, bias=False, std=0.0, fused=base.fused)
        else:
            self.widen = WholeLinear(megatron, lora.rank, outputs, bias=False, std=0.0)
        if isinstance(base, WholeLinear):
            for parameter in self.parameters():
                parameter.partial_gradient = base.weight.partial_gradient
        # Tensor ranks drop alike where they read the same.
        self.apart = isinstance(base, RowLinear) or megatron.sequence_parallel

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the layer's outputs."""
        if self.training and self.dropout:
            x = self._dropped(x)
        out: Tensor = self.widen(self.narrow(x)) * self.scale
        return out

    def _dropped(self, x: Tensor) -> Tensor:
        if not self.apart:
            return F.dropout(x, self.dropout)
        with tensor_parallel_fork():
            return F.dropout(x, self.dropout)


def add_adapters(layers: Iterable[tuple[str, nn.Module]], lora: LoRA) -> list[str]:
    """Give an adapter to every linear layer whose name fits a target; returns the names of all of them."""
    found = {
        f"{name}.{inner}".rstrip("."): module
        for name, layer in layers
        for inner, module in layer.named_modules()
        if isinstance(module, Linear)
    }
    for name, linear in found.items():
        if fits(name, lora.targets):
            linear.lora = Adapter(linear, lora).to(linear.weight.device)
    return list(found)
