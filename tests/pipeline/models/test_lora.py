"""Adapters beside peft's, on the same weights."""

import copy

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import LoRA
from pipeline.distributed import world
from pipeline.models.linear import ColumnLinear, RowLinear, WholeLinear, megatron_config
from pipeline.models.lora import add_adapters
from pipeline.optim.names import merge

SIZE, INNER, RANK, ALPHA, STEPS = 12, 20, 3, 6.0, 20
NAMES = ("up", "down", "whole")


class Ours(nn.Module):
    """One linear layer of each kind."""

    def __init__(self) -> None:
        super().__init__()
        megatron = megatron_config(torch.float32)
        self.up = ColumnLinear(megatron, SIZE, INNER, bias=True, std=0.02)
        self.down = RowLinear(megatron, INNER, SIZE, bias=True, std=0.02)
        self.whole = WholeLinear(megatron, SIZE, SIZE, bias=False, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        return self.whole(torch.tanh(self.down(torch.tanh(self.up(x)))))


class Plain(Ours):
    """The same of torch's layers, which peft knows."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.up, self.down = nn.Linear(SIZE, INNER), nn.Linear(INNER, SIZE)
        self.whole = nn.Linear(SIZE, SIZE, bias=False)


def trained(model: nn.Module, parameters: list[nn.Parameter]) -> list[float]:
    """Losses of 20 steps of AdamW on one batch."""
    torch.manual_seed(1)
    x, wanted = torch.randn(5, 2, SIZE), torch.randn(5, 2, SIZE)
    adam = torch.optim.AdamW(parameters, lr=1e-2)
    losses = []
    for _ in range(STEPS):
        adam.zero_grad()
        loss = (model(x) - wanted).square().mean()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    return losses


def test_equals_peft_over_20_steps() -> None:
    """Losses to 1e-6 relative, merged weights to 1e-6: float32 products, perhaps in another order."""
    peft = pytest.importorskip("peft")
    world.start_alone()
    torch.manual_seed(0)
    plain, ours = Plain(), Ours()
    ours.load_state_dict(plain.state_dict(), strict=False)
    settings = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(NAMES))
    theirs = peft.get_peft_model(copy.deepcopy(plain), settings)
    assert add_adapters([("layer", ours)], LoRA(rank=RANK, alpha=ALPHA, targets=["layer.*"]))
    adapters = []
    for name in NAMES:
        adapter, wrapped = getattr(ours, name).lora, getattr(theirs.base_model.model, name)
        with torch.no_grad():
            adapter.narrow.weight.copy_(wrapped.lora_A["default"].weight)
            adapter.widen.weight.copy_(wrapped.lora_B["default"].weight)
        adapters += [adapter.narrow.weight, adapter.widen.weight]
    found = trained(ours, adapters)
    expected = trained(theirs, [p for p in theirs.parameters() if p.requires_grad])
    assert found == pytest.approx(expected, rel=1e-6)
    assert found[-1] < 0.9 * found[0]
    merged = theirs.merge_and_unload()
    for name in NAMES:
        linear = getattr(ours, name)
        mine = merge(linear.weight, linear.lora.narrow.weight, linear.lora.widen.weight, ALPHA / RANK)
        torch.testing.assert_close(mine, getattr(merged, name).weight, atol=1e-6, rtol=0)


def test_only_targets_get_adapters_and_nothing_changes_at_first() -> None:
    world.start_alone()
    ours = Ours()
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(5, 2, SIZE)
    before = ours(x)
    names = add_adapters([("layer", ours)], LoRA(targets=["*.down"]))
    assert names == [f"layer.{name}" for name in NAMES]
    assert [getattr(ours, name).lora is not None for name in NAMES] == [False, True, False]
    nn.init.normal_(ours.down.lora.narrow.weight)
    nn.init.zeros_(ours.down.lora.widen.weight)
    torch.testing.assert_close(ours(x), before, atol=0, rtol=0)
    nn.init.ones_(ours.down.lora.widen.weight)
    assert not torch.allclose(ours(x), before)
