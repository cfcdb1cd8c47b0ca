"""Which part of a block drops, where attention's probability is one of its own."""

import pytest
import torch

from pipeline.config import ModelConfig
from pipeline.distributed import world
from pipeline.models.attention import self_attention
from pipeline.models.linear import megatron_config
from pipeline.models.norm import Dropout


@pytest.mark.parametrize(
    ("given", "stream", "attention"),
    [
        ({"dropout": 0.5}, True, True),
        ({"dropout": 0.5, "attention_dropout": 0.0}, True, False),
        ({"attention_dropout": 0.5}, False, True),
        ({}, False, False),
    ],
)
def test_attention_drops_by_a_probability_of_its_own(
    given: dict[str, float], stream: bool, attention: bool
) -> None:
    world.start_alone()
    model, megatron = ModelConfig(hidden_size=16, heads=2, **given), megatron_config(torch.float32)
    parts = [Dropout(model, megatron), self_attention(model, megatron, causal=True)]
    for parameter in parts[1].parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(8, 2, 16)
    dropped, attended = parts[0](x), parts[1](x, None, None)
    assert torch.equal(dropped, x) != stream
    assert torch.equal(attended, parts[1].eval()(x, None, None)) != attention


def test_the_fingerprint_of_old_models_stays() -> None:
    assert "attention_dropout" not in ModelConfig(dropout=0.1).identity()
    assert ModelConfig(attention_dropout=0.0).identity()["attention_dropout"] == 0.0
