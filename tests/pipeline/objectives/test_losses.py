"""The loss in one pass over the logits equals autograd through torch's own, by few rows or all at once."""

import math

import pytest
import torch

from pipeline.config import ObjectiveConfig
from pipeline.distributed import world
from pipeline.objectives import losses
from pipeline.objectives.losses import spread, weighted_cross_entropy
from pipeline.objectives.registry import objective_of

SHAPE, VOCABULARY = (3, 7), 50


@pytest.mark.parametrize("chunk", [1, 3 * VOCABULARY, 2**18])
def test_loss_and_gradient_are_those_of_cross_entropy(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To 1e-6 relative: the same sums in another order."""
    world.start_alone()
    monkeypatch.setattr(losses, "CPU_CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    logits_SBV = 30 * torch.randn(SHAPE[1], SHAPE[0], VOCABULARY, generator=generator)
    targets_BS = torch.randint(0, VOCABULARY, SHAPE, generator=generator)
    weights_BS = torch.rand(SHAPE, generator=generator)
    weights_BS[0, :3] = 0
    ours, theirs = logits_SBV.clone().requires_grad_(), logits_SBV.clone().requires_grad_()
    found = weighted_cross_entropy(ours, targets_BS, weights_BS)
    each = torch.nn.functional.cross_entropy(theirs.permute(1, 2, 0), targets_BS, reduction="none")
    wanted = (each * weights_BS).sum()
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
    (2 * found).backward()
    (2 * wanted).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)
    assert torch.equal(ours.detach(), logits_SBV), "the logits stay as they are"


@pytest.mark.parametrize("smoothing", [0.1, 0.9])
def test_smoothing_is_that_of_cross_entropy_over_the_real_vocabulary(smoothing: float) -> None:
    """To 1e-6 relative; rows that fill up the word table have logits of minus infinity and no gradient."""
    world.start_alone()
    generator = torch.Generator().manual_seed(1)
    real_BSV = 5 * torch.randn(*SHAPE, VOCABULARY, generator=generator)
    targets_BS = torch.randint(0, VOCABULARY, SHAPE, generator=generator)
    weights_BS = torch.rand(SHAPE, generator=generator)
    theirs = real_BSV.clone().requires_grad_()
    each = torch.nn.functional.cross_entropy(
        theirs.permute(0, 2, 1), targets_BS, reduction="none", label_smoothing=smoothing
    )
    wanted = (each * weights_BS).sum()
    filled = torch.nn.functional.pad(real_BSV, (0, 14), value=-torch.inf).transpose(0, 1)
    ours = filled.clone().requires_grad_()
    found = weighted_cross_entropy(ours, targets_BS, weights_BS, smoothing)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
    found.backward()
    wanted.backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad[..., :VOCABULARY].transpose(0, 1), theirs.grad, rtol=1e-5, atol=1e-7)
    assert not ours.grad[..., VOCABULARY:].any()


def test_a_sentence_task_adds_its_own_loss_and_tells_the_parts() -> None:
    world.start_alone()
    objective = objective_of(ObjectiveConfig(kind="masked_lm", sentence_task="next_sentence"))
    outputs = {"logits": torch.zeros(2, 2, 4), "next_sentence_logits": torch.tensor([[0.0, 0.1], [0.0, 0.1]])}
    labels = {
        "targets": torch.tensor([[0, 1], [2, 3]]),
        "weights": torch.tensor([[0.5, 0.5], [0.0, 0.0]]),
        "next_sentence": torch.tensor([1, 0]),
        "next_sentence_weights": torch.tensor([0.75, 0.25]),
    }
    total, metrics = objective(outputs, labels)
    right, wrong = torch.nn.functional.cross_entropy(
        outputs["next_sentence_logits"], labels["next_sentence"], reduction="none"
    )
    sentence = float(0.75 * right + 0.25 * wrong)
    assert tuple(metrics) == objective.metrics
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(
        {"masked_lm_loss": math.log(4.0), "sentence_loss": sentence, "sentence_accuracy": 0.75}
    )
    assert float(total) == pytest.approx(math.log(4.0) + sentence)


def test_an_infinite_loss_has_gradients_that_are_not_finite() -> None:
    world.start_alone()
    logits = torch.zeros(1, 1, 3)
    logits[0, 0, 1] = -torch.inf
    logits.requires_grad_()
    labels = {"targets": torch.tensor([[1]]), "weights": torch.ones(1, 1)}
    value = spread(objective_of(ObjectiveConfig())({"logits": logits}, labels)[0])
    value.backward()
    assert not value.isfinite()
    assert logits.grad is not None
    assert not logits.grad.isfinite().all()
