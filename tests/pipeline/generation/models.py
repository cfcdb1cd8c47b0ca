"""Loaded models with random weights, of every family, and a vocabulary that is ids alone."""

from types import SimpleNamespace
from typing import Any

import torch

from pipeline.distributed import world
from pipeline.generation.load import LoadedModel
from pipeline.models.initialize import initialize
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack
from tests.pipeline import tiny

VOCABULARY, LONGEST = 384, 40
IDS: Any = SimpleNamespace(size=VOCABULARY, pad=0, eos=3, forced=None)

DECODERS: dict[str, dict[str, Any]] = {
    "gpt1": {"norm_placement": "post"},
    "gpt2": {},
    "gpt3": {"local_window": 3},
    "opt": {"activation": "relu"},
    "bloom": {"positions": "alibi", "embedding_norm": True},
    "palm": {"positions": "rope", "key_value_heads": 1, "parallel_block": "one_norm", "norm_bias": False},
    "falcon": {"positions": "rope", "key_value_heads": 2, "parallel_block": "two_norms"},
    "llama": {"positions": "rope", "norm": "rmsnorm", "activation": "swiglu", "tied_output": False},
    "relative": {"positions": "relative", "relative_buckets": 8, "relative_distance": 8},
    "banded alibi": {"positions": "alibi", "local_window": 4},
}
BOTH: dict[str, dict[str, Any]] = {
    "t5": {"positions": "relative", "norm": "rmsnorm", "scaled_attention": False, "bias": False},
    "bart": {"norm_placement": "post", "embedding_norm": True, "encoder_layers": 3},
}


def random_model(kind: str = "causal_lm", **model: Any) -> LoadedModel:
    """A model with random weights, biases and norms too, that reads at most `LONGEST` tokens."""
    device = world.start_alone().device
    shape = {"layers": 2, "hidden_size": 64, "heads": 4, "initial_std": 0.2} | model
    config = tiny.config(model=shape, objective={"kind": kind}, data={"sequence_length": LONGEST})
    stack = Stack(model_layers(config, VOCABULARY, torch.float32)).eval()
    named = dict(stack.named())
    initialize(named.items(), 0, 0, 1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in named.values():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return LoadedModel(config, IDS, device, stack, step=0)


def prompts(*lengths: int) -> list[list[int]]:
    """Random ids, none of them padding."""
    generator = torch.Generator().manual_seed(2)
    return [torch.randint(4, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]
