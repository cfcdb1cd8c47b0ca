"""Which features a training has as samples: shuffled by epoch, mixed by share, of similar length together.

Everything follows from seeds and counts, so a training that goes on asks for the same samples.
"""

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]
WINDOW = 32
"""Global batches within which samples are put together by length."""


def epochs(count: int, samples: int, seed: list[int]) -> Index:
    """`samples` numbers below `count`: every one once in each epoch, in another order."""
    found = [np.zeros(0, np.int64)]
    for epoch in range(-(-samples // count)):
        found.append(np.random.default_rng([*seed, epoch]).permutation(count))
    return np.concatenate(found)[:samples]


def mixed(counts: list[int], parts: NDArray[np.float64], samples: int, seed: int) -> Index:
    """`samples` numbers of features that lie set behind set, drawn from each set by its share."""
    drawn = np.random.default_rng([seed, 7]).choice(len(counts), samples, p=parts)
    found = np.zeros(samples, np.int64)
    start = 0
    for one, count in enumerate(counts):
        places = np.flatnonzero(drawn == one)
        found[places] = start + epochs(count, len(places), [seed, 11, one])
        start += count
    return found


def by_length(order: Index, lengths: NDArray[np.int64], batch: int, seed: int) -> Index:
    """The same samples, window by window in batches of similar length that come in random order."""
    found = order.copy()
    size = WINDOW * batch
    for start in range(0, len(order), size):
        window = order[start : start + size]
        window = window[np.argsort(lengths[window], kind="stable")]
        whole = len(window) // batch
        turns = np.random.default_rng([seed, 13, start]).permutation(whole)
        batches = [window[turn * batch : (turn + 1) * batch] for turn in turns]
        found[start : start + size] = np.concatenate([*batches, window[whole * batch :]])
    return found
