"""Which dataset each sample comes from: a fixed pattern whose running counts stay within one of the weights.

The weights become whole counts over a period. Each dataset's j-th sample of the period may come no earlier
than its (j - 1)-th share of time and no later than its j-th; taking the most urgent at every turn meets
every such deadline (Baruah et al. 1996, "Proportionate progress"), so after n samples a dataset with weight
w has given w n rounded down or up. The pattern repeats, so the place of sample 10^12 is a division away.
"""

import heapq
from collections.abc import Sequence
from fractions import Fraction
from math import lcm

import numpy as np
from numpy.typing import NDArray

LONGEST_PERIOD = 1 << 16
"""Weights that need a longer period than this are rounded to this many parts."""


class Mixture:
    """Samples dealt out to datasets by weight.

    `counts` of `period` samples go to each dataset; `shares` is the one divided by the other.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self.counts = whole_counts(weights)
        self.period = sum(self.counts)
        self.pattern = deal(self.counts)
        self._rank = np.zeros(self.period, np.int64)
        for dataset, count in enumerate(self.counts):
            self._rank[self.pattern == dataset] = np.arange(count)

    @property
    def shares(self) -> list[float]:
        """The share of the samples that each dataset gives."""
        return [count / self.period for count in self.counts]

    def assign(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Dataset of each sample [n], and its number among the samples of that dataset [n]."""
        periods, places = np.divmod(indices, self.period)
        datasets = self.pattern[places]
        return datasets, periods * np.array(self.counts)[datasets] + self._rank[places]

    def drawn(self, samples: int) -> list[int]:
        """How many of the first `samples` samples come from each dataset."""
        periods, rest = divmod(samples, self.period)
        extra = np.bincount(self.pattern[:rest], minlength=len(self.counts))
        return [periods * count + int(more) for count, more in zip(self.counts, extra, strict=True)]


def whole_counts(weights: Sequence[float]) -> list[int]:
    """Positive weights as the smallest whole numbers in their proportion, or rounded to 65,536 parts."""
    exact = [Fraction(str(weight)) for weight in weights]
    exact = [weight / sum(exact) for weight in exact]
    period = lcm(*(weight.denominator for weight in exact))
    if period > LONGEST_PERIOD:
        period = LONGEST_PERIOD
    counts = [max(1, int(weight * period)) for weight in exact]
    remainders = sorted(range(len(exact)), key=lambda i: counts[i] - exact[i] * period)
    for index in remainders[: period - sum(counts)]:
        counts[index] += 1
    return counts


def deal(counts: Sequence[int]) -> NDArray[np.int64]:
    """[sum of counts] which dataset each sample of a period comes from."""
    period = sum(counts)
    pattern = np.zeros(period, np.int64)
    waiting = [
        (0, dataset, 1) for dataset in range(len(counts))
    ]  # (may start, dataset, which of its samples)
    ready: list[tuple[int, int, int]] = []  # (must be done, dataset, which of its samples)
    for turn in range(period):
        while waiting and waiting[0][0] <= turn:
            _, dataset, number = heapq.heappop(waiting)
            heapq.heappush(ready, (-(-number * period // counts[dataset]), dataset, number))
        deadline, dataset, number = heapq.heappop(ready)
        assert turn < deadline
        pattern[turn] = dataset
        if number < counts[dataset]:
            heapq.heappush(waiting, (number * period // counts[dataset], dataset, number + 1))
    return pattern
