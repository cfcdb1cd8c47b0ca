"""Losses on a policy's own answers, by the literal formulas in double precision, to 1e-6."""

import math

import pytest
import torch
from torch import Tensor

from pipeline.distributed import world
from pipeline.objectives.grpo import AGGREGATIONS, GRPO, Aggregation, token_weights
from pipeline.objectives.policy import entropy
from pipeline.objectives.ppo import PPO

ROWS, WIDTH, PIECES, LONGEST = 3, 6, 11, 5
MASK = torch.tensor([[0, 0, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 0, 0]]).float()


@pytest.fixture(autouse=True)
def alone() -> None:
    world.start_alone()


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labels() -> dict[str, Tensor]:
    """Old log-probabilities near the policy's, so that some ratios are clipped and some are not."""
    targets = torch.randint(0, PIECES, (ROWS, WIDTH), generator=torch.Generator().manual_seed(9))
    logs = log_probabilities(logits(), targets).float()
    return {
        "targets": targets,
        "lengths": torch.full((ROWS,), WIDTH),
        "old_logs": logs + 0.3 * drawn(ROWS, WIDTH, seed=1),
        "advantages": drawn(ROWS, WIDTH, seed=2) * MASK,
        "answer_weights": MASK,
        "reference_logs": logs + 0.5 * drawn(ROWS, WIDTH, seed=3),
        "old_values": drawn(ROWS, WIDTH, seed=4),
        "returns": drawn(ROWS, WIDTH, seed=5),
    }


def logits() -> Tensor:
    return drawn(WIDTH, ROWS, PIECES, seed=6)


def log_probabilities(logits_SBV: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    logs = (logits_SBV.double() / temperature).log_softmax(2).transpose(0, 1)
    return logs.gather(2, targets.unsqueeze(2)).squeeze(2)


def places() -> list[tuple[int, int]]:
    return [(r, s) for r in range(ROWS) for s in range(WIDTH) if MASK[r, s]]


def policy_term(given: dict[str, Tensor], row: int, place: int, low: float, high: float, t: float) -> float:
    log = float(log_probabilities(logits(), given["targets"], t)[row, place])
    ratio = math.exp(log - float(given["old_logs"][row, place]))
    advantage = float(given["advantages"][row, place])
    return -min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_grpo_with_each_way_to_average(aggregation: Aggregation, temperature: float) -> None:
    """An engine divides weighted sums by the sum of the weights, which is done here by hand."""
    given = labels()
    weights = token_weights(MASK, aggregation, LONGEST)
    given["token_weights"] = weights / weights.sum()
    given["answer_weights"] = MASK / MASK.sum()
    loss, metrics = GRPO(0.04, 0.2, 0.28, temperature)({"logits": logits()}, given)
    logs = log_probabilities(logits(), given["targets"], temperature)
    rows = [0.0] * ROWS
    apart = 0.0
    for r, s in places():
        back = float(given["reference_logs"][r, s]) - float(logs[r, s])
        k3 = math.exp(back) - 1 - back
        rows[r] += policy_term(given, r, s, 0.2, 0.28, temperature) + 0.04 * k3
        apart += k3
    lengths = MASK.sum(1).tolist()
    expected = {
        "grpo": sum(row / length for row, length in zip(rows, lengths, strict=True)) / ROWS,
        "dapo": sum(rows) / sum(lengths),
        "dr_grpo": sum(rows) / (ROWS * LONGEST),
    }[aggregation]
    assert float(loss) == pytest.approx(expected, abs=1e-6)
    assert float(metrics["kl_loss"]) == pytest.approx(apart / sum(lengths), abs=1e-6)


def test_ppo_with_clipped_values_and_pretraining() -> None:
    given = labels()
    values, ptx = drawn(ROWS, WIDTH, seed=7), (1 - MASK) * 0.5
    given |= {"ptx_weights": ptx, "answer_weights": MASK / MASK.sum()}
    objective = PPO(0.2, 0.2, 0.1, 3.0, 1.0)
    loss, metrics = objective({"logits": logits(), "values": values}, given)
    logs = log_probabilities(logits(), given["targets"])
    expected, outside, largest, kl = 0.0, 0, 0.0, 0.0
    for r, s in places():
        value, old, goal = (float(one[r, s]) for one in (values, given["old_values"], given["returns"]))
        near = min(max(value, old - 0.2), old + 0.2)
        worth = 0.5 * max((value - goal) ** 2, (near - goal) ** 2)
        expected += (policy_term(given, r, s, 0.2, 0.2, 1.0) + 0.1 * worth) / len(places())
        change = float(logs[r, s]) - float(given["old_logs"][r, s])
        advantage = float(given["advantages"][r, s])
        outside += (math.exp(change) > 1.2 and advantage > 0) or (math.exp(change) < 0.8 and advantage < 0)
        largest = max(largest, abs(math.exp(change) - 1))
        kl += 0.5 * change**2 / len(places())
    expected += 3.0 * float((-logs * ptx).sum())
    assert float(loss) == pytest.approx(expected, abs=1e-5)
    assert float(metrics["clip_share"]) == pytest.approx(outside / len(places()), abs=1e-6)
    assert float(metrics["approximate_kl"]) == pytest.approx(kl, abs=1e-6)
    assert objective.deviation == pytest.approx(largest, abs=1e-5)


def test_entropy_is_that_of_the_distribution_and_columns_without_probability_count_nothing() -> None:
    given = logits()
    given[:, :, -2:] = -math.inf
    shares = given.double().softmax(2)[:, :, :-2]
    expected = -(shares * shares.log()).sum(2).t()
    torch.testing.assert_close(entropy(given).double(), expected, atol=1e-6, rtol=1e-6)
