"""The baseline and the measures of a frontier, by brute force."""

import math
from itertools import combinations

import numpy as np
import pytest

from pipeline.preferences.frontier import best_of, best_of_divergence, best_weights, distinct, interval


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_best_of_n_is_the_mean_over_all_draws_of_n(n: int) -> None:
    """By the proxy, of the gold values; over every choice of n among five."""
    rng = np.random.default_rng(0)
    gold, proxy = rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    expected = [
        np.mean(
            [gold[row, max(some, key=lambda i, r=row: proxy[r, i])] for some in combinations(range(5), n)]
        )
        for row in range(4)
    ]
    np.testing.assert_allclose(best_of(gold, proxy, n), expected)
    assert best_weights(5, n).sum() == pytest.approx(1)


def test_the_divergence_of_the_best_of_n() -> None:
    assert best_of_divergence(1) == 0
    assert best_of_divergence(4) == pytest.approx(math.log(4) - 0.75)


def test_intervals_and_diversity() -> None:
    mean, low, high = interval(np.array([0.0, 1.0] * 50))
    assert mean == 0.5
    assert high - mean == pytest.approx(1.959964 * 0.5025189 / 10, rel=1e-5)
    assert mean - low == pytest.approx(high - mean)
    assert distinct(["a b c", "a b d"]) == 3 / 4
    assert distinct(["a"]) == 0
