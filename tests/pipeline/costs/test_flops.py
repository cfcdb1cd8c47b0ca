"""Costs computed from the configuration against what a built model has."""

from typing import Any

import pytest
import torch

from pipeline.config import DataConfig, ModelConfig, ObjectiveConfig, PipelineConfig
from pipeline.costs import flops
from pipeline.costs.lengths import Lengths
from pipeline.distributed import world
from pipeline.models.layer import Layer
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.stack import Stack
from pipeline.parallel.stages import stage_bounds, stage_layers


def test_block_weights_are_those_of_a_built_block() -> None:
    world.start_alone()
    model = ModelConfig(layers=2, hidden_size=48, heads=6, key_value_heads=2, activation="swiglu", bias=False)
    config = PipelineConfig(name="x", model=model, data=DataConfig(sequence_length=8))
    named = dict(Stack(model_layers(config, 200, torch.float32)).named())
    matrices = [p for name, p in named.items() if name.startswith("blocks.") and p.dim() == 2]
    assert sum(p.numel() for p in matrices) == 2 * flops.block_weights(model)
    assert named["words.table.weight"].shape[0] == flops.padded_vocabulary(200) == 256


MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "no_bias": {"bias": False, "norm": "rmsnorm"},
    "llama": {"activation": "swiglu", "key_value_heads": 2, "positions": "rope", "tied_output": False},
    "palm": {"key_value_heads": 1, "head_size": 16, "parallel_block": "one_norm", "norm_bias": False},
    "falcon": {"key_value_heads": 3, "parallel_block": "two_norms", "bias": False},
    "opt_350m": {"norm_placement": "post", "word_size": 24, "activation": "relu"},
    "bloom": {"positions": "alibi", "embedding_norm": True},
    "bert": {
        "architecture": "encoder",
        "norm_placement": "post",
        "embedding_norm": True,
        "token_types": 2,
    },
    "t5": {
        "architecture": "encoder_decoder",
        "encoder_layers": 3,
        "positions": "relative",
        "norm": "rmsnorm",
        "bias": False,
        "head_size": 16,
        "activation": "geglu",
        "tied_output": False,
    },
    "bart": {"architecture": "encoder_decoder", "norm_placement": "post", "embedding_norm": True},
}


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_those_of_a_built_model(name: str) -> None:
    world.start_alone()
    model = ModelConfig(layers=2, hidden_size=48, heads=6, **MODELS[name])
    kinds = {"decoder": "causal_lm", "encoder": "masked_lm", "encoder_decoder": "span_corruption"}
    task = "next_sentence" if name == "bert" else "none"
    config = PipelineConfig.model_validate(
        {
            "name": "x",
            "model": model,
            "objective": {"kind": kinds[model.architecture], "sentence_task": task},
            "data": {"sequence_length": 8},
        }
    )
    built = Stack(model_layers(config, 200, torch.float32))
    assert sum(p.numel() for p in built.parameters()) == flops.parameters(model, 256, 8, config.objective)


def test_gpt2_has_its_published_size() -> None:
    """124,439,808 with a vocabulary of 50,257 and 1,024 positions (Hugging Face's model card of gpt2)."""
    assert flops.parameters(ModelConfig(layers=12, hidden_size=768, heads=12), 50_257, 1024) == 124_439_808


def test_training_flops_by_hand() -> None:
    """h=2, one head, S=4, V=128: attention 4hh=16, MLP 2*2*8=32 weights; 2*48 + 2*4*2 = 112; head 512."""
    model = ModelConfig(layers=1, hidden_size=2, heads=1)
    assert flops.block_cost(model, Lengths(4), in_encoder=False) == 4 * 112
    assert flops.training_per_sample(model, Lengths(4), 128) == 3 * 4 * (112 + 512)


def test_encoder_decoder_flops_by_hand() -> None:
    """h=2, one head, V=128, 16 tokens to the encoder, T to the decoder behind it.

    An encoder layer has 48 weights and sees all 16 keys: 16 (96 + 4*16*2). A decoder layer has 48 of its
    own and, on its tokens, half of the cross-attention's 16; the other half reads the encoder's output:
    T (96 + 2*T*2 + 16 + 4*16*2) + 16*16. The head sees T tokens.
    """
    model = ModelConfig(architecture="encoder_decoder", layers=1, hidden_size=2, heads=1)
    objective = ObjectiveConfig(kind="span_corruption")
    lengths = objective_of(objective).shape(DataConfig(sequence_length=16)).lengths
    inputs, targets = lengths
    assert inputs == 16
    decoder = targets * (96 + 2 * targets * 2 + 16 + 4 * 16 * 2) + 16 * 16
    encoder = 16 * (96 + 4 * 16 * 2)
    assert flops.training_per_sample(model, lengths, 128) == 3 * (encoder + decoder + targets * 512)


def test_local_layers_stand_in_the_stages_that_use_them() -> None:
    """Costs that put the encoder's embeddings, its blocks and the decoder on three stages."""

    def layer(name: str, cost: float = 0.0, **more: Any) -> Layer:
        return Layer(name, torch.nn.Identity, (), cost, **more)

    bias = {"gives": ("mask",), "local": True}
    layers = [
        layer("words", 10.0),
        layer("encoder.bias", **bias),
        layer("encoder.0", 5.0, block=True),
        layer("encoder.1", 5.0, block=True, ends=("mask",)),
        layer("decoder.bias", **bias),
        layer("decoder.0", 10.0, block=True, ends=("mask",)),
    ]
    names = [[one.name for one in stage] for stage in stage_layers(layers, 3)]
    assert names == [["words"], ["encoder.bias", "encoder.0", "encoder.1"], ["decoder.bias", "decoder.0"]]
    two = [[one.name for one in stage] for stage in stage_layers(layers, 4)]
    assert all("encoder.bias" in stage for stage in two if "encoder.0" in stage or "encoder.1" in stage)


def test_stages_cost_about_the_same() -> None:
    assert stage_bounds([0.0, 10.0, 10.0, 10.0, 10.0, 0.0, 5.0], 2) == [0, 3, 7]
    assert stage_bounds([0.0, 1.0, 1.0, 0.0, 0.0], 2)[1] in (2, 3)
