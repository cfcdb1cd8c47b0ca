"""Branches of a block that are left out for some samples of a batch (Huang et al. 2016).

Which ones is drawn with the batch, from each sample's key, so it is the same in every layout: `kept` [B, 2 L]
is false where layer i leaves out its attention (2 i) or its MLP (2 i + 1). What stays is scaled up, so that
nothing changes on average and evaluation, whose batches have no `kept`, needs no correction. To import this
needs no torch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.layer import Flow

KEPT = "kept"


class Depth(NamedTuple):
    """Where a block stands."""

    layer: int
    """Its number."""
    rate: float
    """The probability that a branch of it is left out."""


def rates(layers: int, last: float) -> list[float]:
    """Of each layer, from 0 at the first to that of the last."""
    return [last * layer / max(1, layers - 1) for layer in range(layers)]


def thinned(
    branch: "Callable[[Tensor], Tensor]", flow: "Flow", depth: Depth | None, number: int
) -> "Callable[[Tensor], Tensor]":
    """A branch that gives nothing for samples which leave it out; `number` counts the block's branches."""
    if depth is None or not depth.rate or KEPT not in flow:
        return branch
    kept_B = flow[KEPT][:, 2 * depth.layer + number]

    def scaled(x_SBH: "Tensor") -> "Tensor":
        out_SBH = branch(x_SBH)
        return out_SBH * (kept_B.to(out_SBH.dtype) / (1.0 - depth.rate)).unsqueeze(1)

    return scaled
