"""Steps in bfloat16 beside float32 ones, and compiled layers beside those that are not."""

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.distributed import world
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine
from tests.distributed import toy
from tests.gpu.training import describe_world

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
MODELS = {"gpt": toy.GPT, "llama": toy.LLAMA, "bert": toy.BERT, "t5": toy.T5}


def losses(model: dict[str, Any], dtype: torch.dtype, **parallel: Any) -> list[float]:
    """Of some steps of a toy model."""
    precision = str(dtype).removeprefix("torch.")
    config = toy.config(model, train={"precision": precision}, **parallel)
    describe_world()
    here = world.start(config.parallel, config.seed)
    layers = model_layers(config, toy.VOCABULARY, dtype)
    objective = objective_of(config.objective)
    engine = Engine(layers, objective, here, config.parallel, config.train, dtype, config.seed)
    batch = toy.global_batch(0, architecture=config.model.architecture)
    shares = toy.share(batch, here, config.train.accumulation(1))
    return [engine.train_step(shares, 1e-3)[0] for _ in range(5)]


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_steps_follow_float32_ones(name: str) -> None:
    """bfloat16 has 8 bits, a relative 4e-3, and losses are means over some hundred tokens."""
    found, expected = losses(MODELS[name], torch.bfloat16), losses(MODELS[name], torch.float32)
    np.testing.assert_allclose(found, expected, rtol=2e-2)
    assert found[-1] < found[0]


@pytest.mark.parametrize("name", MODELS)
def test_compiled_steps_follow_eager_ones(name: str) -> None:
    """Fused kernels round in another order."""
    found, expected = losses(MODELS[name], torch.float32, compile=True), losses(MODELS[name], torch.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
