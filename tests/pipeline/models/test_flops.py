"""Costs computed from the configuration against what a built model has."""

from typing import Any

import pytest
import torch

from pipeline.config import DataConfig, ModelConfig, PipelineConfig
from pipeline.models import flops
from pipeline.models.decoder import decoder_layers
from pipeline.parallel import world
from pipeline.parallel.stack import Stack
from pipeline.parallel.stages import stage_bounds


def test_block_weights_are_those_of_a_built_block() -> None:
    world.start_alone()
    model = ModelConfig(layers=2, hidden_size=48, heads=6, query_groups=2, activation="swiglu", bias=False)
    config = PipelineConfig(name="x", model=model, data=DataConfig(sequence_length=8))
    named = dict(Stack(decoder_layers(config, 200, torch.float32)).named())
    matrices = [p for name, p in named.items() if name.startswith("blocks.") and p.dim() == 2]
    assert sum(p.numel() for p in matrices) == 2 * flops.block_weights(model)
    assert named["words.table.weight"].shape[0] == flops.padded_vocabulary(200) == 256


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bias": False, "norm": "rmsnorm"},
        {"activation": "swiglu", "query_groups": 2, "positions": "rope", "tied_output": False},
    ],
)
def test_parameters_are_those_of_a_built_model(changes: dict[str, Any]) -> None:
    world.start_alone()
    model = ModelConfig(layers=2, hidden_size=48, heads=6, **changes)
    config = PipelineConfig(name="x", model=model, data=DataConfig(sequence_length=8))
    built = Stack(decoder_layers(config, 200, torch.float32))
    assert sum(p.numel() for p in built.parameters()) == flops.parameters(model, 256, 8)


def test_gpt2_has_its_published_size() -> None:
    """124,439,808 with a vocabulary of 50,257 and 1,024 positions (Hugging Face's model card of gpt2)."""
    assert flops.parameters(ModelConfig(layers=12, hidden_size=768, heads=12), 50_257, 1024) == 124_439_808


def test_training_flops_by_hand() -> None:
    """h=2, one head, S=4, V=128: attention 4hh=16, MLP 2*2*8=32 weights; 2*48 + 2*4*2 = 112; head 512."""
    model = ModelConfig(layers=1, hidden_size=2, heads=1)
    assert flops.block(model, 4) == 112
    assert flops.training_per_token(model, 128, 4) == 3 * (112 + 512)


def test_stages_cost_about_the_same() -> None:
    assert stage_bounds([0.0, 10.0, 10.0, 10.0, 10.0, 0.0, 5.0], 2) == [0, 3, 7]
    assert stage_bounds([0.0, 1.0, 1.0, 0.0, 0.0], 2)[1] in (2, 3)
