"""The one description of a model: a plain list of `Layer`s, each a module class with its arguments.

Nothing is built until an engine asks, so a pipeline stage allocates its own layers alone. Layers with the
same `tie` share one module's weight, wherever they are placed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Layer:
    name: str
    """Prefix of its parameters' names, the same in every layout and every checkpoint."""
    module: Callable[..., nn.Module]
    """The module's class."""
    arguments: tuple[Any, ...]
    """What the class is called with."""
    cost: float
    """FLOPs of a forward pass per token: what pipeline stages are balanced by."""
    tie: str | None = None
    """Key of the weight that this layer shares with others."""
    forward: Callable[[nn.Module, Any], Any] | None = None
    """What to call instead of the module itself, for the second use of a tied module."""

    def build(self) -> nn.Module:
        """Allocate the module."""
        return self.module(*self.arguments)
