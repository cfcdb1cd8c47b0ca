"""A global batch that grows: every layout steps on the samples that each step has, after a resume too."""

from pathlib import Path
from typing import Any

import torch

from pipeline.config import PipelineConfig
from pipeline.distributed import world
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine
from pipeline.training.lr_schedule import learning_rate
from tests.distributed import toy
from tests.distributed.processes import run_world

GROWS = {"ramp_up": {"start": 4, "steps": 3}}
SAVED_AT = 2
LAYOUTS: list[dict[str, Any]] = [
    {"zero_stage": 0},
    {"zero_stage": 1},
    {"zero_stage": 2},
    {"zero_stage": 3},
    {"zero_stage": 2, "offload": True},
    {"pipeline": 2, "zero_stage": 1},
]


def cut_batches(given: PipelineConfig) -> list[float]:
    """The same without a ramp-up, each step's samples in one micro batch."""
    here = world.start(given.parallel, given.seed)
    layers = model_layers(given, toy.VOCABULARY, torch.float32)
    objective = objective_of(given.objective)
    engine = Engine(layers, objective, here, given.parallel, given.train, torch.float32, given.seed)
    seen: list[float] = []
    for step in range(given.train.steps):
        whole = toy.global_batch(step % 2)
        size = 4 if step < 3 else 8
        batch = {name: array[:size] for name, array in whole.items()}
        seen += engine.train_step([batch], learning_rate(step, given.train))
    seen.append(engine.evaluate([toy.global_batch(1000)]))
    world.stop()
    return seen


def test_every_layout_steps_on_the_growing_batch(tmp_path: Path) -> None:
    """Beside one process that sees each step's samples as one micro batch."""
    plain = toy.config(toy.GPT, zero_stage=0, train={"micro_batch": 8})
    expected = run_world(1, cut_batches, plain)[0]
    one = toy.config(toy.GPT, train=GROWS)
    toy.assert_follows(run_world(1, toy.train, one, tmp_path, False, SAVED_AT)[0], expected)
    given = [toy.config(toy.GPT, train=GROWS, **layout) for layout in LAYOUTS]
    for layout, result in zip(LAYOUTS, run_world(2, toy.train_each, given)[0], strict=True):
        toy.assert_follows(result, expected, str(layout))
    resumed = run_world(2, toy.train, given[0], tmp_path, True)[0]
    toy.assert_follows(resumed, expected[2 * SAVED_AT :], "resumed before the batch is whole")
