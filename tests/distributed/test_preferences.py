"""Reward models and policies from comparisons: the same in every layout, and as stages of a recipe."""

from typing import Any

import numpy as np
import torch

from pipeline.config import PipelineConfig
from pipeline.distributed import world
from pipeline.distributed.world import World
from pipeline.models.scalar import scalar
from pipeline.objectives.batches import Batch
from pipeline.objectives.dpo import DPO
from pipeline.objectives.loss import Loss
from pipeline.objectives.model import model_layers
from pipeline.objectives.reward import RewardLoss
from pipeline.parallel.engine import Engine
from pipeline.preferences.measure import figures, judge
from pipeline.preferences.rankings import from_ranks
from pipeline.stages.dpo import REFERENCE, with_reference
from tests.distributed import toy
from tests.distributed.processes import leave_groups, run_world
from tests.distributed.test_companions import LAYOUTS, companion, config

ANSWERS = 3
PROMPTS = 4
MODELS = (toy.GPT, toy.LLAMA)


def comparisons(step: int, here: World, micro: int = 1) -> list[Batch]:
    """A rank's micro batches of prompts with three answers of uneven lengths, ranked at random."""
    rng = np.random.default_rng(step)
    rows = (PROMPTS * ANSWERS, toy.LENGTH)
    tokens, lengths = rng.integers(0, toy.VOCABULARY, rows), rng.integers(6, toy.LENGTH + 1, rows[0])
    places = np.arange(toy.LENGTH)
    beats = [from_ranks(rng.permutation(ANSWERS).tolist()) for _ in range(PROMPTS)]
    whole: Batch = {
        "tokens": tokens,
        "targets": np.roll(tokens, -1, axis=1),
        "answers": ((places >= 4) & (places < lengths[:, None] - 1)).astype(np.float32),
        "lengths": lengths,
        "pair_weights": np.stack(beats),
    }
    firsts = range(here.data_rank * micro, PROMPTS, here.data_size * micro)
    return [
        {
            name: array[first : first + micro] if name == "pair_weights" else array[first * 3 : first * 3 + 3]
            for name, array in whole.items()
        }
        for first in firsts
    ]


class Source:
    """The comparisons that a reward model is judged by."""

    def __init__(self, here: World) -> None:
        self.here = here

    def validation(self) -> list[Batch]:
        return comparisons(77, self.here)


def engine(given: PipelineConfig, here: World, loss: Loss, head: Any = None) -> Engine:
    layers = model_layers(given, toy.VOCABULARY, torch.float32, head)
    return Engine(layers, loss, here, given.parallel, given.train, torch.float32, given.seed)


def learn(layout: tuple[int, int, int]) -> list[float]:
    """Loss, norm and metrics of steps of a reward model and of DPO, and what the reward model is worth."""
    found: list[float] = []
    for model in MODELS:
        given = config(model, layout)
        optim = given.train.model_copy(update={"global_batch": PROMPTS, "micro_batch": 1})
        given = given.model_copy(update={"train": optim})
        here = world.start(given.parallel, given.seed)
        learner = engine(given, here, RewardLoss(0.1, 0.01), scalar)
        for step in range(3):
            found += [*learner.train_step(comparisons(step, here), 1e-2), *learner.metrics.values()]
        measured = figures(judge(learner, Source(here)))  # type: ignore[arg-type]
        found += [measured["accuracy"], measured["mean"], measured["deviation"]]
        learner = engine(given, here, DPO(0.2, 0.1))
        beside = {REFERENCE: companion(given, here)}
        for step in range(3):
            batches = with_reference(comparisons(step, here), beside)
            found += [*learner.train_step(batches, 1e-2), *learner.metrics.values()]
        found.append(learner.evaluate(with_reference(comparisons(9, here), beside)))
        leave_groups()
    world.stop()
    return found


def test_what_is_learned_from_comparisons_is_the_same_in_every_layout() -> None:
    """To 1e-4 relative, as gradient norms are, or 1e-5 of numbers near 0."""
    [alone] = run_world(1, learn, (1, 1, 1))
    for layout in LAYOUTS[1:]:
        for rank in run_world(2, learn, layout):
            np.testing.assert_allclose(rank, alone, rtol=1e-4, atol=1e-5, err_msg=str(layout))
