"""The list of layers as one module."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from pipeline.models.layer import Layer

NamedParameters = Iterator[tuple[str, nn.Parameter]]


class Stack(nn.Module):
    """Every layer in one module, one after the other."""

    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        self.parts = nn.ModuleList()
        self._calls: list[tuple[int, Callable[[nn.Module, Any], Any] | None]] = []
        self._names: list[str] = []
        tied: dict[str, int] = {}
        for layer in layers:
            index = tied.get(layer.tie or "", -1)
            if index < 0:
                index = len(self.parts)
                self.parts.append(layer.build())
                self._names.append(layer.name)
                if layer.tie:
                    tied[layer.tie] = index
            self._calls.append((index, layer.forward))

    def forward(self, inputs: Any) -> Any:
        """The first layer's inputs to the last layer's outputs."""
        for index, function in self._calls:
            part = self.parts[index]
            inputs = function(part, inputs) if function else part(inputs)
        return inputs

    def named(self) -> NamedParameters:
        """Every parameter under its layout-free name."""
        for name, part in zip(self._names, self.parts, strict=True):
            for inner, parameter in part.named_parameters():
                yield f"{name}.{inner}", parameter
