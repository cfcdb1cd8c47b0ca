"""What a policy has won and what it cost: gold and proxy reward over the divergence from the reference.

A proxy, the reward model, that is optimised too far leaves the gold reward behind (Gao, Schulman and Hilton
2023). Everything is measured on the same held-out prompts, with as many answers for each point.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.intervals import NORMAL_QUANTILE


@dataclass(frozen=True)
class Point:
    """A policy's answers to P prompts."""

    kl: float
    """Divergence from the reference in nats an answer; of the best of n the bound log n - (n - 1) / n."""
    gold: tuple[float, float, float]
    """Mean over prompts, and its 95 % interval."""
    proxy: float
    length: float
    """Words of an answer."""
    distinct: float
    """Share of different pairs of neighbouring words among all."""
    ended: float
    """Share of answers that came to their end."""


def interval(values_P: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean with its 95 % interval, prompts being drawn."""
    mean, count = float(values_P.mean()), len(values_P)
    reach = NORMAL_QUANTILE * float(values_P.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    return mean, mean - reach, mean + reach


def distinct(texts: Sequence[str]) -> float:
    """Share of different bigrams among all (Li et al. 2016).

    >>> distinct(["a b a b"])
    0.6666666666666666
    """
    pairs = [pair for text in texts for pair in bigrams(text)]
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def bigrams(text: str) -> list[tuple[str, str]]:
    """Neighbouring words."""
    words = text.split()
    return list(pairwise(words))


def best_weights(count: int, best_of: int) -> NDArray[np.float64]:
    """[N] how likely each of N answers, the worst by the proxy first, is the best of n drawn of them.

    C(i, n - 1) / C(N, n) for the one with i answers below it: the estimator of Nakano et al. (2021), appendix
    I.

    >>> best_weights(3, 2).tolist()
    [0.0, 0.3333333333333333, 0.6666666666666666]
    """
    whole = math.comb(count, best_of)
    return np.array([math.comb(below, best_of - 1) / whole for below in range(count)])


def best_of(values_PN: NDArray[np.float64], proxy_PN: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """[P] what the answer that the proxy likes best of n is worth, over all draws of n of a prompt's N."""
    order = proxy_PN.argsort(axis=1, kind="stable")
    sorted_PN = np.take_along_axis(values_PN, order, axis=1)
    return sorted_PN @ best_weights(values_PN.shape[1], n)


def best_of_divergence(n: int) -> float:
    """log n - (n - 1) / n, which the divergence of the best of n does not pass (Beirami et al. 2024)."""
    return math.log(n) - (n - 1) / n
