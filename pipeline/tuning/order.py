"""The order of samples that lie in memory: a pure function of the seed and the step.

Position p of the endless order is sample `p mod n` of epoch `p div n`'s permutation, and micro batch m of
rank r of W at a step that begins at position f holds the positions `f + (m*W + r)*B` onward: a global batch
is the same for every number of ranks.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.config import OptimizerConfig


class EndlessOrder:
    """The numbers of the samples that one data-parallel rank reads."""

    def __init__(self, seed: int, count: int, optim: OptimizerConfig, data_rank: int, data_size: int) -> None:
        self.seed, self.count, self.optim = seed, count, optim
        self.rank, self.size = data_rank, data_size
        self._permutation = lru_cache(maxsize=2)(lambda epoch: shuffled(seed, count, "train", epoch))

    def step(self, step: int) -> list[list[int]]:
        """Those of each micro batch of this rank at optimizer step `step`, counted from 0."""
        size, found = self.optim.micro_batch, self.all_of(step)
        firsts = range(self.rank * size, len(found), self.size * size)
        return [found[first : first + size] for first in firsts]

    def all_of(self, step: int) -> list[int]:
        """Those of the global batch of a step."""
        places = range(self.optim.samples_before(step), self.optim.samples_before(step + 1))
        return [self._sample(place) for place in places]

    def fixed(self, count: int) -> Iterator[range]:
        """This rank's micro batches of `count` samples in order; every rank has as many.

        Numbers from `count` on stand for samples that fill up the last ones.
        """
        size = self.optim.micro_batch
        for number in range(math.ceil(count / (size * self.size))):
            first = (number * self.size + self.rank) * size
            yield range(first, first + size)

    def _sample(self, position: int) -> int:
        epoch, place = divmod(position, self.count)
        return int(self._permutation(epoch)[place])


def shuffled(seed: int, count: int, purpose: str, epoch: int = 0) -> NDArray[np.int64]:
    """A permutation of `count` numbers for a purpose; another epoch has another."""
    return np.random.default_rng([seed, epoch, *purpose.encode()]).permutation(count)
