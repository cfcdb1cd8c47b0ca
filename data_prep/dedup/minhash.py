"""MinHash signatures of documents (Broder 1997), cut into bands for locality-sensitive hashing.

A document is the set of its n-grams of words, lower-cased, symbols left out. The permutations are
multiply-add functions of 32-bit hashes, so that numpy works on eight of them at once.
"""

import numpy as np
from numpy.typing import NDArray

from data_prep.config import NearDedupConfig
from data_prep.filters.hashes import mix
from data_prep.filters.words import shingles

CHUNK = 512  # n-grams times permutations that stay in a core's cache
SEED = 20_240_501  # the signatures of datasets prepared apart can be compared


class MinHash:
    """Signatures and band keys for one configuration."""

    def __init__(self, config: NearDedupConfig) -> None:
        self.config = config
        draw = np.random.Generator(np.random.PCG64(SEED))
        count = config.bands * config.rows
        self.factors = draw.integers(0, 1 << 31, count, np.uint32) * np.uint32(2) + np.uint32(1)
        self.offsets = draw.integers(0, 1 << 32, count, np.uint32)

    def signature(self, grams: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """The least value of each permutation over the n-grams (`shingles`): [bands x rows]."""
        signature = np.full(len(self.factors), 2**32 - 1, np.uint32)
        values = (grams >> np.uint64(32)).astype(np.uint32)[:, None]
        buffer = np.empty((CHUNK, len(self.factors)), np.uint32)
        for start in range(0, len(values), CHUNK):
            part = values[start : start + CHUNK]
            permuted = np.multiply(part, self.factors, out=buffer[: len(part)])
            permuted += self.offsets
            np.minimum(signature, permuted.min(axis=0), out=signature)
        return signature

    def bands(self, text: str) -> NDArray[np.uint64]:
        """A 64-bit key per band: equal where all rows of the band are."""
        rows = self.signature(shingles(text, self.config.ngram)).reshape(self.config.bands, self.config.rows)
        keys = np.arange(self.config.bands, dtype=np.uint64)  # equal rows of different bands do not meet
        for row in rows.T:
            keys = mix(keys + row)
        return keys
