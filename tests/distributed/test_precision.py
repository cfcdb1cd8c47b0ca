"""bfloat16 and float16 follow float32, in both engines and through the ZeRO stages."""

from functools import cache

import numpy as np
import pytest
import torch
from deepspeed.accelerator import get_accelerator

from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig, TrainConfig
from pipeline.distributed import world
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine
from pipeline.training.lr_schedule import learning_rate
from pipeline.training.trainer import precision
from tests.distributed import toy
from tests.distributed.processes import run_world

LAYOUTS = [
    (torch.bfloat16, 1, 1, 1),
    (torch.bfloat16, 1, 2, 1),
    (torch.bfloat16, 2, 1, 3),
    (torch.float16, 1, 1, 2),
    (torch.float16, 1, 2, 1),
]
"""Type, tensor and pipeline parallel size, ZeRO stage."""


def losses(given: PipelineConfig, dtype: torch.dtype) -> list[float]:
    """The losses of the toy's first steps, and the loss scale."""
    here = world.start(given.parallel, given.seed)
    # DeepSpeed refuses float16 on CPUs, which are slow at it but not wrong.
    type(get_accelerator()).is_fp16_supported = lambda self: True
    type(get_accelerator()).supported_dtypes = lambda self: [torch.float32, torch.float16, torch.bfloat16]
    layers = model_layers(given, toy.VOCABULARY, dtype)
    objective = objective_of(given.objective)
    engine = Engine(layers, objective, here, given.parallel, given.train, dtype, given.seed)
    accumulation = given.train.accumulation(here.data_size)
    found = []
    for step in range(given.train.steps):
        batches = toy.share(toy.global_batch(step % 2), here, accumulation)
        found.append(engine.train_step(batches, learning_rate(step, given.train))[0])
    world.stop()
    return [*found, float(engine.engine.optimizer.loss_scale)]


@cache
def in_float32() -> list[float]:
    """The same losses of one process."""
    found: list[float] = run_world(1, toy.train, toy.config(toy.GPT))[0][0:-1:2]
    return found


@pytest.mark.parametrize(("dtype", "tensor", "pipeline", "zero_stage"), LAYOUTS)
def test_half_precision_follows(dtype: torch.dtype, tensor: int, pipeline: int, zero_stage: int) -> None:
    """To 2e-3 relative over eight steps: bfloat16 rounds by up to 4e-3, which losses average out."""
    given = toy.config(toy.GPT, tensor, pipeline, zero_stage)
    *found, scale = run_world(tensor * pipeline, losses, given, dtype)[0]
    expected = in_float32()
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    assert found != expected
    assert scale > 1 if dtype == torch.float16 else scale == 1


def test_float16_on_a_cpu_is_refused() -> None:
    with pytest.raises(InputError, match="float16"):
        precision(TrainConfig(precision="float16"), 1, torch.device("cpu"))
