"""The loss in one pass over the logits equals autograd through torch's own, by few rows or all at once."""

import pytest
import torch

from pipeline.distributed import world
from pipeline.training import loss as losses
from pipeline.training.loss import loss, weighted_cross_entropy

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


def test_a_sentence_task_adds_its_own_loss() -> None:
    world.start_alone()
    logits = {"logits": torch.zeros(2, 1, 4), "next_sentence_logits": torch.tensor([[0.0, 0.0]])}
    labels = (torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]), torch.tensor([1]), torch.tensor([1.0]))
    assert float(loss(logits, labels)) == pytest.approx(torch.tensor(4.0).log() + torch.tensor(2.0).log())


def test_an_infinite_loss_has_gradients_that_are_not_finite() -> None:
    world.start_alone()
    logits = torch.zeros(1, 1, 3)
    logits[0, 0, 1] = -torch.inf
    logits.requires_grad_()
    value = loss({"logits": logits}, (torch.tensor([[1]]), torch.ones(1, 1)))
    value.backward()
    assert not value.isfinite()
    assert logits.grad is not None
    assert not logits.grad.isfinite().all()
