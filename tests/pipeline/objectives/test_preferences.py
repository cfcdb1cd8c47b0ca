"""Losses on comparisons, by literal formulas in double precision."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.distributed import world
from pipeline.objectives.divergences import k1, k3
from pipeline.objectives.dpo import DPO, REFERENCE
from pipeline.objectives.reward import RewardLoss
from pipeline.preferences.measure import Judged, figures
from pipeline.preferences.rankings import from_ranks


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ranked() -> Tensor:
    """Two prompts with four answers each, of which the second has a tie."""
    return torch.from_numpy(np.stack([from_ranks([2, 4, 1, 3]), from_ranks([1, 2, 2, 3])]))


def test_a_reward_models_loss_is_the_mean_over_pairs() -> None:
    """-1 / C(K, 2) sum log sigmoid(r_w - r_l), to 1e-6; centering adds c mean (r_w + r_l)^2."""
    values, lengths = drawn(8, 9), torch.tensor([3, 9, 1, 5, 2, 8, 4, 7])
    weights = ranked()
    loss, metrics = RewardLoss(centering=0.1)(
        {"values": values}, {"lengths": lengths, "pair_weights": weights}
    )
    expected, right = 0.0, 0.0
    for prompt, ranks in enumerate(([2, 4, 1, 3], [1, 2, 2, 3])):
        scores = [float(values[prompt * 4 + k, lengths[prompt * 4 + k] - 1]) for k in range(4)]
        pairs = [(i, j) for i in range(4) for j in range(4) if ranks[i] < ranks[j]]
        for i, j in pairs:
            expected -= math.log(1 / (1 + math.exp(scores[j] - scores[i]))) / len(pairs)
            expected += 0.1 * (scores[i] + scores[j]) ** 2 / len(pairs)
            right += (scores[i] > scores[j]) / len(pairs)
    assert float(loss) == pytest.approx(expected, abs=1e-6)
    assert float(metrics["accuracy"]) == pytest.approx(right, abs=1e-6)
    assert float(metrics["margin"]) == pytest.approx(
        float(metrics["reward_chosen"] - metrics["reward_rejected"])
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_dpo_is_its_formula(smoothing: float) -> None:
    """(1 - e) -log sigmoid(d) + e -log sigmoid(-d) with sums over the answers' tokens alone, to 1e-6."""
    world.start_alone()
    logits, targets = drawn(6, 4, 11), torch.randint(0, 11, (4, 6))
    answers = torch.tensor([[0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 0, 0]])
    reference = -drawn(4, 6, seed=1).abs()
    weights = torch.tensor([[[0.0, 1.0], [0.0, 0.0]]] * 2)
    labels = {"targets": targets, "answers": answers.float(), "pair_weights": weights, REFERENCE: reference}
    loss, metrics = DPO(0.3, smoothing)({"logits": logits}, labels)
    logs = logits.transpose(0, 1).double().log_softmax(2).gather(2, targets.unsqueeze(2)).squeeze(2)
    sums, theirs = (logs * answers).sum(1), (reference.double() * answers).sum(1)
    expected = 0.0
    for chosen in (0, 2):
        difference = 0.3 * float((sums - theirs)[chosen] - (sums - theirs)[chosen + 1])
        expected += (1 - smoothing) * math.log1p(math.exp(-difference))
        expected += smoothing * math.log1p(math.exp(difference))
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    back = (reference.double() - logs) * answers
    assert float(metrics["kl"]) == pytest.approx(float((back.exp() - 1 - back).sum()) / 2, rel=1e-6)
    assert float(metrics["log_probability_chosen"]) == pytest.approx(float(sums[0] + sums[2]), rel=1e-6)


def test_estimates_of_a_divergence_have_its_mean() -> None:
    """Over all outcomes k1 and k3 weigh KL(p || q); k3 is never negative."""
    p, q = drawn(7).softmax(0).double(), drawn(7, seed=1).softmax(0).double()
    divergence = (p * (p / q).log()).sum()
    for estimate in (k1, k3):
        assert float((p * estimate(p.log(), q.log())).sum()) == pytest.approx(float(divergence))
    assert (k3(p.log(), q.log()) >= 0).all()


def test_figures_of_a_reward_model_by_hand() -> None:
    """Three right of four; a model that is as sure as it is right has no calibration error."""
    scores = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 1.0]], np.float32)
    weights = np.tile(np.array([[0, 1], [0, 0]], np.float32), (4, 1, 1))
    lengths = np.array([[5, 3], [2, 4], [3, 3], [4, 5]])
    found = figures(Judged(scores, weights, lengths))
    assert found["accuracy"] == 0.75
    assert found["longer_is_better"] == (1 + 0 + 0.5 + 0) / 4
    assert found["mean"] == 1.5
    assert found["interval"][0] < 0.75 < found["interval"][1]
    sure = 1 / (1 + math.exp(-1.0))
    soft = np.tile(np.array([[0, sure], [1 - sure, 0]], np.float32), (4, 1, 1))
    even = np.array([[1.0, 0.0]] * 4, np.float32)
    assert figures(Judged(even, soft, lengths))["calibration_error"] == pytest.approx(0, abs=1e-6)
