"""Adafactor (Shazeer and Stern 2018, algorithms 4 and 5) as T5 was trained with it.

A matrix keeps the means of its squared gradient by row and by column instead of one number for each of its
own. There is no average of gradients. Each update is clipped by its root mean square, and is relative to that
of the parameter where `parameter_scaling` says so. The learning rate is the schedule's.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.distributed import sharding
from pipeline.optim.pieces import Piece, Share, Update

DECAY = 0.8
"""At step t squared gradients are averaged with a weight of t ** -DECAY for the new one."""
LARGEST = 1.0
"""Root mean square beyond which an update is clipped."""
LEAST_SQUARE, LEAST_SIZE = 1e-30, 1e-3
"""Added to squared gradients; and the least root mean square of a parameter that its step is relative to."""

ROWS, COLUMNS = "exp_avg_sq_row", "exp_avg_sq_col"
STATES = ("exp_avg_sq",)
"""Of what is no matrix, and so not factored."""


def factors(shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """States of a matrix, whole on every rank."""
    return {ROWS: (shape[0],), COLUMNS: (shape[1],)}


def update_matrices(shares: Sequence[Share], how: Update) -> None:
    """One step on matrices [R, C], in place."""
    sums = [torch.cat([*_sums(share), share.weight.square().sum().view(1)]) for share in shares]
    new = how.step**-DECAY
    sizes = []
    for share, found in zip(shares, how.reach.add_up(shares, sums), strict=True):
        rows, columns = share.piece.shape
        row_R, column_C, square = found.split([rows, columns, 1])
        share.states[ROWS].lerp_(row_R / columns, new)
        share.states[COLUMNS].lerp_(column_C / rows, new)
        share.gradient.mul_(_inverse_roots(share.piece, share.states[ROWS], share.states[COLUMNS]))
        sizes.append(square[0])
    _apply(shares, sizes, how)


def update_others(shares: Sequence[Share], how: Update) -> None:
    """One step on vectors and the like, in place."""
    sizes = how.reach.add_up(shares, [share.weight.square().sum() for share in shares])
    for share in shares:
        squares = share.states["exp_avg_sq"]
        squares.lerp_(share.gradient.square().add_(LEAST_SQUARE), how.step**-DECAY)
        share.gradient.mul_(squares.rsqrt())
    _apply(shares, sizes, how)


def _apply(shares: Sequence[Share], sizes: Sequence[Tensor], how: Update) -> None:
    """Clip the updates that stand in place of gradients, and step by them; `sizes` are sums of squares."""
    squares = how.reach.add_up(shares, [share.gradient.square().sum() for share in shares])
    for share, size, square in zip(shares, sizes, squares, strict=True):
        count = torch.Size(share.piece.shape).numel()
        rate = torch.full_like(size, how.rate)
        if how.optim.parameter_scaling:
            rate *= (size / count).sqrt().clamp(min=LEAST_SIZE)
        share.weight.sub_(share.weight * (how.weight_decay * rate))
        share.weight.sub_(share.gradient * (rate / ((square / count).sqrt() / LARGEST).clamp(min=1.0)))


def _sums(share: Share) -> tuple[Tensor, Tensor]:
    """Sums of squares of a run's numbers by row [R] and by column [C] of the whole matrix."""
    piece = share.piece
    columns = piece.shard_shape[1]
    before, first, count = _rows(piece)
    squares = share.gradient.square().add_(LEAST_SQUARE)
    # A run of 7 numbers from the third of a row of 4: __ab cdef g___
    grid = F.pad(squares, (before, count * columns - before - piece.length)).view(count, columns)
    row_R, column_C = grid.new_zeros(piece.shape[0]), grid.new_zeros(piece.shape[1])
    row_R[_places(piece, 0, grid.device)[first : first + count]] = grid.sum(1)
    column_C[_places(piece, 1, grid.device)] = grid.sum(0)
    return row_R, column_C


def _inverse_roots(piece: Piece, row_R: Tensor, column_C: Tensor) -> Tensor:
    """One over the root of what rows and columns say of each of a run's squared gradients, flat."""
    before, first, count = _rows(piece)
    own_rows = _places(piece, 0, row_R.device)[first : first + count]
    of_rows = (row_R / row_R.mean()).rsqrt()[own_rows]
    of_columns = column_C.rsqrt()[_places(piece, 1, row_R.device)]
    return torch.outer(of_rows, of_columns).flatten()[before : before + piece.length]


def _rows(piece: Piece) -> tuple[int, int, int]:
    """Numbers before a run in its first row, that row in the shard, and how many rows the run touches."""
    columns = piece.shard_shape[1]
    first, before = divmod(piece.start, columns)
    return before, first, -(-(before + piece.length) // columns) if piece.length else 0


def _places(piece: Piece, dim: int, device: torch.device) -> Tensor:
    """Which rows or columns of the whole matrix those of the shard are."""
    whole = torch.arange(piece.shape[dim], device=device)
    if piece.cut.dim != dim:
        return whole
    return sharding.part(whole, piece.cut._replace(dim=0), piece.tensor_rank)
