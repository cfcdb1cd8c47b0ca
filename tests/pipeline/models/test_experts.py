"""The experts' losses equal transformers' function and a literal formula, sequence by sequence."""

import torch
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from pipeline.config import ModelConfig
from pipeline.distributed import world
from pipeline.models.experts import Experts
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
    _, found = experts(x_SBH)
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
    model = ModelConfig(hidden_size=4, bias=False, experts={"count": 4, "active": 1, "balance": 1.0})
    experts = Experts(model, megatron_config(torch.float32))
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.fill_(0.1)
        experts.router.weight.copy_(torch.eye(4))
    _, found = experts(torch.eye(4).unsqueeze(1))
    torch.testing.assert_close(found["expert_loss"], torch.ones(1))
