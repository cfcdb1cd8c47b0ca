"""Names that optimizers' states and adapters have in checkpoints, and which parameters are trained by theirs.

Torch is not needed to know them.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pipeline.config import OptimizerConfig

if TYPE_CHECKING:
    from torch import Tensor

AVERAGE = "average"
"""The state that is an exponential moving average of the weights."""
ADAPTER = ".lora."
"""In the name of every parameter of an adapter, and of no other."""
NARROW, WIDEN = "lora.narrow.weight", "lora.widen.weight"
"""Ends of the names of A [rank, inputs] and B [outputs, rank], in place of the `weight` of W."""


def merge(weight: "Tensor", narrow: "Tensor", widen: "Tensor", scale: float) -> "Tensor":
    """The weight that alone does what it does with its adapter; whole tensors, float32."""
    return weight + scale * (widen @ narrow)


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name is one of those that some patterns name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def is_trained(name: str, optim: OptimizerConfig) -> bool:
    """Whether a parameter of this name is trained: not what is frozen, nor what adapters stand beside."""
    if fits(name, optim.freeze):
        return False
    return optim.lora is None or ADAPTER in name or fits(name, optim.lora.also)
