"""The experts' losses equal transformers' function and a literal formula, sequence by sequence."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from pipeline.config import ModelConfig
from pipeline.config.experts import Capacity
from pipeline.distributed import world
from pipeline.models.experts import Experts, Routing
from pipeline.models.linear import megatron_config


def test_losses_equal_transformers() -> None:
    """Which counts K choices a token, and so has K times the loss that is 1 where all is even."""
    world.start_alone()
    values = {"count": 5, "active": 2, "balance": 0.3, "z": 0.2}
    model = ModelConfig(hidden_size=16, bias=False, experts=values)
    experts = Experts(model, megatron_config(torch.float32))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    x_SBH = torch.randn(12, 3, 16, generator=generator)
    _, found = experts(x_SBH, {})
    for row in range(3):
        logits_SE = experts.router(x_SBH[:, row])
        balance = load_balancing_loss_func((logits_SE,), 5, 2) / 2
        z = logits_SE.exp().sum(1).log().square().mean()
        torch.testing.assert_close(found["expert_loss"][row], 0.3 * balance + 0.2 * z)
    load_E = experts.router(x_SBH).topk(2).indices.flatten().bincount(minlength=5)
    assert found["expert_load"][0].tolist() == load_E.tolist()
    assert int(load_E.sum()) == 12 * 3 * 2, "no choice is dropped"


def test_even_experts_have_a_balance_of_one() -> None:
    world.start_alone()
    values = {"count": 4, "active": 1, "normalise": False, "balance": 1.0}
    model = ModelConfig(hidden_size=4, bias=False, experts=values)
    experts = Experts(model, megatron_config(torch.float32))
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.fill_(0.1)
        experts.router.weight.copy_(torch.eye(4))
    _, found = experts(torch.eye(4).unsqueeze(1), {})
    torch.testing.assert_close(found["expert_loss"], torch.ones(1))


def test_capacity_drops_the_last_and_padding_takes_no_place() -> None:
    """Two experts that are told apart by the sign of the first number; the first takes two tokens."""
    world.start_alone()
    values = {"count": 2, "active": 1, "normalise": False, "capacity": 2, "balance": 1.0}
    model = ModelConfig(hidden_size=4, bias=False, experts=values)
    routing = Routing(Capacity(2, 3), "encoder_segments")
    experts = Experts(model, megatron_config(torch.float32), routing)
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.fill_(0.1)
        experts.router.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]]))
    x_SBH = torch.tensor([1.0, 2.0, -1.0, 3.0, 4.0]).view(5, 1, 1) * torch.tensor([1.0, 0, 0, 1.0])
    segments = torch.tensor([[1, 0, 1, 1, 1]])
    for training, lost in ((True, [1, 4]), (False, [1])):
        experts.train(training)
        out_SBH, found = experts(x_SBH, {"encoder_segments": segments})
        silent = [place for place in range(5) if not out_SBH[place].any()]
        assert silent == lost, "of the tokens 0, 3 and 4 the first two, or all; 1 is padding"
        assert found["expert_load"].tolist() == [[3, 1]]
        assert found["expert_dropped"].tolist() == [len(lost) - 1]
        real = experts.router(x_SBH)[[0, 2, 3, 4], 0].softmax(-1).mean(0)
        wanted = 2 * (torch.tensor([0.75, 0.25]) * real).sum()
        torch.testing.assert_close(found["expert_loss"][0], wanted)


def test_jitter_moves_the_router_alone_and_only_in_training() -> None:
    world.start_alone()
    values = {"count": 2, "active": 1, "normalise": False, "jitter": 0.5}
    model = ModelConfig(hidden_size=4, bias=False, experts=values)
    router = Experts(model, megatron_config(torch.float32)).router
    with torch.no_grad():
        router.weight.fill_(1.0)
    x_SBH = torch.ones(50, 2, 4)
    noisy = router(x_SBH).detach()
    assert 2.0 <= float(noisy.min()) < 3.5 < 4.5 < float(noisy.max()) <= 6.0
    torch.testing.assert_close(noisy[..., 0], noisy[..., 1])
    assert torch.equal(router.eval()(x_SBH), torch.full((50, 2, 2), 4.0))


def test_shared_experts_are_added_to_all_tokens() -> None:
    world.start_alone()
    values = {"count": 4, "active": 2, "shared": 2}
    model = ModelConfig(hidden_size=8, feed_forward_size=16, bias=False, activation="swiglu", experts=values)
    experts = Experts(model, megatron_config(torch.float32))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    x_SBH = torch.randn(6, 2, 8, generator=generator)
    both, _ = experts(x_SBH, {})
    gate, up = experts.shared.up.weight.chunk(2)
    assert gate.shape == (2 * 16, 8)
    common = (F.silu(x_SBH @ gate.t()) * (x_SBH @ up.t())) @ experts.shared.down.weight.t()
    experts.shared = None
    alone, _ = experts(x_SBH, {})
    torch.testing.assert_close(both, alone + common)


WRONG = {
    "normalise false": {"active": 1},
    "is for active 1": {"active": 2, "capacity_factor": 1.25},
    "leave these out": {"active": 1, "normalise": False, "capacity": 4, "capacity_factor": 1.0},
    "needs a capacity_factor": {"active": 1, "normalise": False, "eval_capacity_factor": 1.0},
}


@pytest.mark.parametrize("problem", WRONG)
def test_experts_that_cannot_be_are_refused(problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ModelConfig(hidden_size=4, bias=False, experts=WRONG[problem])
