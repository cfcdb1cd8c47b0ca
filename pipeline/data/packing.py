"""Best-fit packing: documents are kept whole where they fit (Ding et al. 2024, "Fewer Truncations").

The window decides how many slots there are, from the block table alone, so packing only rearranges what is
in it: longest piece first, each into the fullest slot that still has room. What then fits nowhere whole is
cut to fill the gaps, so every token is still there once.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pieces:
    """Where pieces of a stream go: `size` positions from `source` on, to column `column` of slot `row`."""

    source: NDArray[np.int64]
    size: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]


def split_long(starts: NDArray[np.int64], sizes: NDArray[np.int64], width: int) -> list[tuple[int, int]]:
    """(start, size) of pieces of at most `width`, in order: longer ones are cut every `width` positions."""
    pieces = []
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        for at in range(0, size, width):
            pieces.append((start + at, min(width, size - at)))
    return pieces


def best_fit(pieces: list[tuple[int, int]], rows: int, width: int) -> Pieces:
    """Places for all the pieces; their sizes must not add up to more than rows x width."""
    gaps = Gaps(rows, width)
    placed: list[tuple[int, int, int, int]] = []
    homeless = []
    for start, size in sorted(pieces, key=lambda piece: -piece[1]):
        found = gaps.smallest(size)
        if found is None:
            homeless.append((start, size))
        else:
            placed.append((start, size, *gaps.fill(found, size)))
    for start, size in homeless:
        while size:
            gap = gaps.largest()
            taken = min(gap, size)
            placed.append((start, taken, *gaps.fill(gap, taken)))
            start, size = start + taken, size - taken
    return Pieces(*np.array(placed, dtype=np.int64).reshape(-1, 4).T)


class Gaps:
    """The free room at the end of each slot, by its size: bit g of `sizes` is set where a gap has size g."""

    def __init__(self, rows: int, width: int) -> None:
        self.width = width
        self.by_size: dict[int, list[int]] = {width: list(range(rows - 1, -1, -1))}
        self.sizes = 1 << width

    def smallest(self, size: int) -> int | None:
        """The smallest gap that holds `size` positions; None where there is none."""
        above = self.sizes >> size
        return size + (above & -above).bit_length() - 1 if above else None

    def largest(self) -> int:
        """The largest gap."""
        return self.sizes.bit_length() - 1

    def fill(self, gap: int, size: int) -> tuple[int, int]:
        """Take `size` positions of a gap of this size; gives the row and the column they start at."""
        rows = self.by_size[gap]
        row = rows.pop()
        if not rows:
            self.sizes ^= 1 << gap
        left = gap - size
        if left:
            self.by_size.setdefault(left, []).append(row)
            self.sizes |= 1 << left
        return row, self.width - gap


def rearrange(
    stream: NDArray[Any], pieces: Pieces, rows: int, width: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_], NDArray[np.int64]]:
    """Tokens, following tokens and breaks [rows, width], and lengths [rows], of pieces in their places."""
    tokens, following = (np.full(rows * width, stream[-1], stream.dtype) for _ in range(2))
    targets = pieces.row * width + pieces.column
    for source, size, target in zip(
        pieces.source.tolist(), pieces.size.tolist(), targets.tolist(), strict=True
    ):
        tokens[target : target + size] = stream[source : source + size]
        following[target : target + size] = stream[source + 1 : source + size + 1]
    breaks = np.zeros(rows * width, bool)
    breaks[targets] = True
    lengths = np.bincount(pieces.row, weights=pieces.size, minlength=rows).astype(np.int64)
    return tokens.reshape(rows, width), following.reshape(rows, width), breaks.reshape(rows, width), lengths
