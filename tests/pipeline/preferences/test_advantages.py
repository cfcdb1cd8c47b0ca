"""Scores to advantages, by loops over tokens in plain Python; every difference below 1e-6."""

import math
import statistics

import pytest
import torch
from torch import Tensor

from pipeline.preferences.advantages import (
    adapted,
    explained_variance,
    generalised,
    relative,
    token_rewards,
    whitened,
)

STARTS, ENDS = (2, 0, 4, 3), (5, 7, 5, 7)


def drawn(seed: int) -> Tensor:
    return torch.randn(4, 7, generator=torch.Generator().manual_seed(seed))


def mask() -> Tensor:
    """Answers of 3, 7, 1 and 4 tokens, behind prompts and before padding."""
    found = torch.zeros(4, 7)
    for row, (start, end) in enumerate(zip(STARTS, ENDS, strict=True)):
        found[row, start:end] = 1
    return found


def test_the_score_is_on_the_last_real_token_and_the_divergence_on_every_one() -> None:
    scores, apart = torch.tensor([1.0, -2.0, 0.5, 3.0]), drawn(0)
    found = token_rewards(scores, apart, mask(), 0.1)
    for row, (start, end) in enumerate(zip(STARTS, ENDS, strict=True)):
        for place in range(7):
            inside = start <= place < end
            expected = -0.1 * float(apart[row, place]) * inside
            expected += float(scores[row]) if place == end - 1 else 0.0
            assert float(found[row, place]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("gamma", "decay"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (1.0, 0.0)])
def test_advantages_are_sums_of_discounted_errors(gamma: float, decay: float) -> None:
    """A_t = sum over l of (gamma decay)^l delta_{t+l}, by brute force; returns are A + V."""
    values, rewards = drawn(1), drawn(2) * mask()
    advantages, returns = generalised(values, rewards, mask(), gamma, decay)
    for row, (start, end) in enumerate(zip(STARTS, ENDS, strict=True)):
        own = [*values[row, start:end].tolist(), 0.0]
        errors = [float(rewards[row, start + t]) + gamma * own[t + 1] - own[t] for t in range(end - start)]
        for t in range(end - start):
            expected = sum((gamma * decay) ** (u - t) * errors[u] for u in range(t, end - start))
            assert float(advantages[row, start + t]) == pytest.approx(expected, abs=1e-6)
            assert float(returns[row, start + t]) == pytest.approx(expected + own[t], abs=1e-6)
    assert not advantages[mask() == 0].any()


def test_whitening_is_over_the_mask_with_the_biased_variance() -> None:
    values = 3 * drawn(3) + 2
    inside = values[mask() > 0].double().tolist()
    mean, variance = statistics.fmean(inside), statistics.pvariance(inside)
    for shift in (True, False):
        found = whitened(values, mask(), shift)
        expected = [(x - mean) / math.sqrt(variance + 1e-8) + (0 if shift else mean) for x in inside]
        torch.testing.assert_close(
            found[mask() > 0].double(), torch.tensor(expected).double(), atol=1e-6, rtol=1e-6
        )
        assert not found[mask() == 0].any()


def test_group_advantages_and_groups_without_any() -> None:
    scores = torch.tensor([1.0, 2.0, 4.0, 5.0, 5.0, 5.0])
    found, alike = relative(scores, 3)
    deviation = statistics.stdev([1.0, 2.0, 4.0])
    expected = [(x - 7 / 3) / (deviation + 1e-4) for x in (1.0, 2.0, 4.0)] + [0.0] * 3
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert alike == 1
    assert relative(scores, 3, by_deviation=False)[0].tolist()[:3] == pytest.approx([-4 / 3, -1 / 3, 5 / 3])


def test_the_coefficient_follows_the_divergence_within_its_clip() -> None:
    """Ziegler et al. 2019: beta (1 + clip(KL / target - 1, -0.2, 0.2) n / horizon)."""
    assert adapted(0.2, 6.0, 6.0, 64, 1000) == pytest.approx(0.2)
    assert adapted(0.2, 6.6, 6.0, 64, 1000) == pytest.approx(0.2 * (1 + 0.1 * 0.064))
    assert adapted(0.2, 60.0, 6.0, 64, 1000) == pytest.approx(0.2 * (1 + 0.2 * 0.064))
    assert adapted(0.2, -1.0, 6.0, 64, 1000) == pytest.approx(0.2 * (1 - 0.2 * 0.064))


def test_explained_variance() -> None:
    values = drawn(5)
    assert explained_variance(values, values, mask()) == pytest.approx(1)
    assert explained_variance(torch.zeros(4, 7), values, mask()) == pytest.approx(0, abs=1e-6)
