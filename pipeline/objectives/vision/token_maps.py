"""The tokens of an image as a picture of them: a pixel for each, whose three bytes are its number.

So what a quantiser has read of a dataset of pictures is one itself, whose samples, captions, order and shards
are read as those of any other, losslessly where they are PNGs.
"""

import numpy as np
from numpy.typing import NDArray

MOST = 1 << 24
"""Numbers that three bytes have."""
TOKENS = "tokens"
"""What a manifest's `pixels` call the size of the codebook where pictures are such maps."""


def as_map(numbers_BN: NDArray[np.int64], side: int) -> NDArray[np.uint8]:
    """[B, side, side, 3] pictures of the tokens of square images, row by row; the lowest byte is red.

    >>> as_map(np.array([[258]]), 1)
    array([[[[2, 1, 0]]]], dtype=uint8)
    """
    bytes_BN3 = np.stack([numbers_BN >> shift & 255 for shift in (0, 8, 16)], axis=2)
    return bytes_BN3.astype(np.uint8).reshape(len(numbers_BN), side, side, 3)


def numbers_of(maps: NDArray[np.uint8]) -> NDArray[np.int64]:
    """[B, N] the tokens of such pictures.

    >>> numbers_of(as_map(np.array([[258, 7, 70000, 0]]), 2))
    array([[  258,     7, 70000,     0]])
    """
    whole = maps.astype(np.int64) @ np.array([1, 1 << 8, 1 << 16])
    found: NDArray[np.int64] = whole.reshape(len(maps), -1)
    return found
