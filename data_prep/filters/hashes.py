"""Hashes of words and of words in a row, the same on every machine."""

import numpy as np
from numpy.typing import NDArray

BASE = np.uint64(0x9E3779B97F4A7C55)
"""Multiplier of polynomial hashes: the order of words counts."""


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread numbers over 64 bits (the finaliser of splitmix64), so that sums of them rarely agree."""
    values = (values + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def ngram_hashes(hashes: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """A 64-bit hash of every n words in a row, from a hash per word: a polynomial modulo 2^64."""
    count = len(hashes) - n + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    result = hashes[:count].copy()
    for offset in range(1, n):
        result *= BASE
        result += hashes[offset : offset + count]
    return mix(result)
