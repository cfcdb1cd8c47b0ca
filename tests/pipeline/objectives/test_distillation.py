"""A teacher's distribution beside the data: torch's own divergence, both ends of the share, a temperature."""

import math

import pytest
import torch
import torch.nn.functional as F

from pipeline.config import ObjectiveConfig
from pipeline.distributed import world
from pipeline.objectives.distillation import Distillation, divergence
from pipeline.objectives.registry import objective_of

S, B, V, PADDING = 3, 2, 11, 2


@pytest.fixture(scope="module", autouse=True)
def alone() -> None:
    world.start_alone()


def logits(seed: int) -> torch.Tensor:
    """[S, B, V] with rows that fill up a word table at the end."""
    found = 3 * torch.randn(S, B, V, generator=torch.Generator().manual_seed(seed))
    found[..., -PADDING:] = -math.inf
    return found


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_divergence_is_torchs(temperature: float) -> None:
    student, teacher = (logits(seed)[..., :-PADDING] / temperature for seed in (0, 1))
    wanted = F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), log_target=True, reduction="none")
    found = divergence(logits(0), logits(1), temperature)
    torch.testing.assert_close(found, wanted.sum(-1), rtol=1e-5, atol=1e-6)
    assert divergence(logits(0), logits(0)).abs().max() < 1e-6


def test_the_loss_goes_from_the_objectives_to_the_teachers() -> None:
    """T^2 keeps the gradients of soft targets as large as those of hard ones (Hinton et al., section 2.1)."""
    objective = objective_of(ObjectiveConfig())
    targets, weights = torch.ones(B, S, dtype=torch.int64), torch.tensor([[1.0, 1.0, 0.0], [2.0, 0.0, 0.0]])
    labels = {"targets": targets, "weights": weights, "teacher_logits": logits(1)}
    own, _ = objective({"logits": logits(0)}, {"targets": targets, "weights": weights})
    apart = (divergence(logits(0), logits(1), 2.0) * weights.t()).sum()
    for share in (0.0, 0.25, 1.0):
        loss = Distillation(objective, share, 2.0)
        total, metrics = loss({"logits": logits(0)}, labels)
        torch.testing.assert_close(total, (1 - share) * own + 4 * share * apart)
        assert set(loss.metrics) == set(metrics)
        torch.testing.assert_close(metrics["divergence"], apart)
        torch.testing.assert_close(metrics["objective_loss"], own)


def test_the_gradient_is_the_difference_of_the_distributions() -> None:
    student = logits(0)[..., :-PADDING].requires_grad_()
    divergence(student, logits(1)[..., :-PADDING]).sum().backward()
    wanted = student.detach().softmax(-1) - logits(1)[..., :-PADDING].softmax(-1)
    assert student.grad is not None
    torch.testing.assert_close(student.grad, wanted, rtol=1e-4, atol=1e-6)
