"""A teacher's distribution beside the data: torch's own divergence, both ends of the share, a temperature."""

import math

import pytest
import torch
import torch.nn.functional as F

from pipeline.config import ObjectiveConfig
from pipeline.distributed import world
from pipeline.objectives.distillation import Distillation, divergence, kept_layers
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


def test_the_loss_is_that_of_distilbert() -> None:
    """5 KL + 2 MLM + 1 cosine by torch's own losses is 7 times ours."""
    temperature, width = 2.0, 5
    states = [torch.randn(S, B, width, generator=torch.Generator().manual_seed(seed)) for seed in (7, 8)]
    real = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    hidden = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    targets = torch.tensor([[1, 2, 3], [4, 5, 6]])
    student, teacher = (logits(seed)[..., :-PADDING].transpose(0, 1)[real > 0] for seed in (0, 1))
    soft = [one / temperature for one in (student, teacher)]
    kl = torch.nn.KLDivLoss(reduction="batchmean")(F.log_softmax(soft[0], -1), F.softmax(soft[1], -1))
    words = logits(0)[..., :-PADDING].transpose(0, 1)[hidden > 0]
    masked = F.cross_entropy(words, targets[hidden > 0])
    near = [one.transpose(0, 1)[real > 0] for one in states]
    cosine = torch.nn.CosineEmbeddingLoss()(*near, torch.ones(len(near[0])))
    wanted = 5 * kl * temperature**2 + 2 * masked + cosine
    loss = Distillation(objective_of(ObjectiveConfig(kind="masked_lm")), 5 / 7, temperature, True, 1 / 7)
    labels = {
        "targets": targets,
        "weights": hidden / hidden.sum(),
        "token_weights": real / real.sum(),
        "teacher_logits": logits(1),
        "teacher_states": states[1],
    }
    assert set(loss.labels) == set(labels)
    total, metrics = loss({"logits": logits(0), "last_states": states[0]}, labels)
    torch.testing.assert_close(7 * total, wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(metrics["cosine_distance"], cosine, rtol=1e-5, atol=1e-6)
    assert set(loss.metrics) == set(metrics)


def test_a_student_keeps_the_teachers_first_and_last_layers() -> None:
    assert kept_layers(6, 12) == [0, 2, 4, 7, 9, 11]
    assert kept_layers(2, 3) == [0, 2]
    assert kept_layers(3, 3) == [0, 1, 2]
    assert kept_layers(1, 4) == [0]


def test_the_gradient_is_the_difference_of_the_distributions() -> None:
    student = logits(0)[..., :-PADDING].requires_grad_()
    divergence(student, logits(1)[..., :-PADDING]).sum().backward()
    wanted = student.detach().softmax(-1) - logits(1)[..., :-PADDING].softmax(-1)
    assert student.grad is not None
    torch.testing.assert_close(student.grad, wanted, rtol=1e-4, atol=1e-6)
