"""Images mixed in pairs, in whole or in a box, and the share that each one's class keeps.

Sample 2 k of the endless order is mixed with sample 2 k + 1, both ways, by numbers that the first one's key
gives. A micro batch begins at an even sample, so the pairs are the same in every layout.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.objectives.draws import Words, uniform

SHARE, BOX, WHICH = range(2, 5)  # what a number is drawn for
TRIES = 64


class Mixed(NamedTuple):
    """Images with something of another one in them."""

    pixels: NDArray[np.uint8]
    """[B, Y, X, 3]"""
    others: NDArray[np.int64]
    """[B] which image of the batch that is."""
    shares: NDArray[np.float32]
    """[B] what is left of the image itself."""


def mixed(pixels: NDArray[np.uint8], keys: Words, mixup: float, cutmix: float) -> Mixed:
    """Mixup (Zhang et al. 2018) or cutmix (Yun et al. 2019), each pair by one of them where there are both.

    `mixup` and `cutmix` are the parameters of the Beta distributions that shares are drawn from; 0 leaves one
    out. Colours are rounded to whole levels.
    """
    count = len(pixels)
    assert count % 2 == 0
    pairs = keys[::2]
    by_box = uniform(pairs, 1, WHICH)[:, 0] < 0.5 if mixup and cutmix else np.full(len(pairs), bool(cutmix))
    shares = np.where(by_box, beta(pairs, cutmix or 1.0), beta(pairs, mixup or 1.0))
    found, others = pixels.copy(), np.arange(count) ^ 1
    centres = uniform(pairs, 2, BOX)
    for pair, (box, share) in enumerate(zip(by_box, shares, strict=True)):
        rows = slice(2 * pair, 2 * pair + 2)
        own, other = pixels[rows], pixels[rows][::-1]
        if box:
            area, shares[pair] = box_of(share, centres[pair], pixels.shape[1:3])
            found[rows][:, *area] = other[:, *area]
        else:
            found[rows] = np.rint(share * own.astype(np.float32) + (1 - share) * other.astype(np.float32))
    return Mixed(found, others, shares.repeat(2).astype(np.float32))


def box_of(
    share: float, centre: NDArray[np.float64], size: tuple[int, int]
) -> tuple[tuple[slice, slice], float]:
    """Rows and columns of a box of 1 - `share` of the area around a point, cut off at the edges; what of the
    area it then leaves."""
    side, sides, left = (1.0 - share) ** 0.5, [], 1.0
    for at, length in zip(centre, size, strict=True):
        middle, half = int(at * length), int(side * length) // 2
        sides.append(slice(max(0, middle - half), min(length, middle + half)))
    rows, columns = sides
    left -= (rows.stop - rows.start) * (columns.stop - columns.start) / (size[0] * size[1])
    return (rows, columns), left


def beta(keys: Words, parameter: float) -> NDArray[np.float64]:
    """[B] numbers of Beta(a, a) for a of at most 1, by rejection (Jöhnk 1964)."""
    drawn = uniform(keys, 2 * TRIES, SHARE) ** (1.0 / parameter)
    one, other = drawn[:, :TRIES], drawn[:, TRIES:]
    both = one + other
    first = ((both <= 1.0) & (both > 0.0)).argmax(1)
    rows = np.arange(len(keys))
    total = both[rows, first]
    found: NDArray[np.float64] = np.where(total > 0, one[rows, first] / np.where(total > 0, total, 1.0), 0.5)
    return found
