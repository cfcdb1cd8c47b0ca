"""Numbers as tokens and back (Reed et al. 2022, section 2.1).

What is observed goes through the mu-law, sgn(x) ln(100 |x| + 1) / ln(25,600 + 1), and is cut to [-1, 1];
actions are scaled to [-1, 1] as they are. Both fall in 1,024 bins of equal width.

>>> bins(squashed(np.array([-300.0, 0.0, 0.01, 256.0]))).tolist()
[0, 512, 546, 1023]
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.agent import BINS

MU, LARGEST = 100.0, 256.0
"""Of the mu-law: how steep it is at 0, and what becomes 1."""
Numbers = NDArray[np.float64]


def squashed(values: NDArray[Any]) -> Numbers:
    """The mu-law of any numbers."""
    x = values.astype(np.float64)
    found: Numbers = np.sign(x) * np.log(MU * np.abs(x) + 1) / np.log(MU * LARGEST + 1)
    return found


def unsquashed(values: NDArray[Any]) -> Numbers:
    """The way back."""
    y = values.astype(np.float64)
    found: Numbers = np.sign(y) * np.expm1(np.abs(y) * np.log(MU * LARGEST + 1)) / MU
    return found


def bins(values: NDArray[Any]) -> NDArray[np.int64]:
    """The bin of each number of [-1, 1]; what is beyond is in the first or the last."""
    places = np.floor((np.clip(values, -1, 1) + 1) / 2 * BINS).astype(np.int64)
    return np.minimum(places, BINS - 1)


def centres(numbers: NDArray[Any]) -> Numbers:
    """The number in the middle of each bin."""
    found: Numbers = (numbers.astype(np.float64) + 0.5) / BINS * 2 - 1
    return found
