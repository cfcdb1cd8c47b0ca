"""How the same numbers lie in our tensors and in transformers': changes of layout that can be undone."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Tensors = list[Tensor]


@dataclass(frozen=True)
class Change:
    """From some tensors to others, and back."""

    out: Callable[[Tensors], Tensors]
    back: Callable[[Tensors], Tensors]

    @property
    def undone(self) -> "Change":
        """The way back as a change of its own."""
        return Change(self.back, self.out)


def pieces(groups: int, counts: tuple[int, ...]) -> Change:
    """One tensor whose rows lie group by group, `counts` of each kind in a group, to one tensor a kind.

    With 2 groups of (2, 1) the rows q0 q1 k0 q2 q3 k1 become q0 q1 q2 q3 and k0 k1.
    """

    def out(tensors: Tensors) -> Tensors:
        grouped = tensors[0].unflatten(0, (groups, sum(counts), -1))
        return [part.flatten(0, 2) for part in grouped.split(counts, 1)]

    def back(tensors: Tensors) -> Tensors:
        pairs = zip(tensors, counts, strict=True)
        return [torch.cat([part.unflatten(0, (groups, count, -1)) for part, count in pairs], 1).flatten(0, 2)]

    return Change(out, back)


def behind_first(change: Change) -> Change:
    """The change of all tensors but the first, which stays."""
    return Change(lambda t: [t[0], *change.out(t[1:])], lambda t: [t[0], *change.back(t[1:])])


def first_rows(count: int, padded: int) -> Change:
    """The first `count` rows; the way back fills up with zeros to `padded`."""
    return Change(
        lambda t: [t[0][:count]],
        lambda t: [F.pad(t[0][:count], (0, 0) * (t[0].dim() - 1) + (0, padded - count))],
    )


def rows_before(count: int) -> Change:
    """So many rows of zeros in front; the way back drops them."""
    return Change(
        lambda t: [F.pad(t[0], (0, 0) * (t[0].dim() - 1) + (count, 0))],
        lambda t: [t[0][count:]],
    )


TRANSPOSED = Change(lambda t: [one.t() for one in t], lambda t: [one.t() for one in t])
"""Matrices stored as inputs x outputs; vectors stay."""

STACKED = Change(lambda t: list(t[0].unbind()), lambda t: [torch.stack(t)])
"""One tensor of a matrix for each of several experts to these matrices."""

STACKED_PAIRS = Change(
    lambda t: [part for matrix in t[0].unbind() for part in matrix.chunk(2)],
    lambda t: [torch.stack([torch.cat(pair) for pair in zip(t[::2], t[1::2], strict=True)])],
)
"""The same of matrices whose upper and lower half, gate and up, are each one of theirs."""


def repeated(names: int) -> Change:
    """One tensor under several names; files hold each by itself."""
    return Change(lambda t: [t[0], *(t[0].clone() for _ in range(names - 1))], lambda t: t[:1])
