"""Padding in an encoder's batches: seen by nothing in any layout, in some micro batches and steps alone."""

import numpy as np
import torch

from pipeline.distributed import world
from pipeline.objectives.batches import Batch
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine
from tests.distributed import toy
from tests.distributed.processes import run_world

STEPS = 4


def train(pipeline: int, padding: int) -> list[float]:
    """Losses and gradient norms of steps of which every second has one padded micro batch, and held-out loss.

    `padding` is the token that fills up.
    """
    given = toy.config(toy.BERT, pipeline=pipeline)
    here = world.start(given.parallel, given.seed)
    layers = model_layers(given, toy.VOCABULARY, torch.float32)
    objective = objective_of(given.objective)
    engine = Engine(layers, objective, here, given.parallel, given.train, torch.float32, given.seed)
    count = given.train.accumulation(here.data_size)
    seen: list[float] = []
    for step in range(STEPS):
        batches = toy.share(toy.global_batch(step, architecture="encoder"), here, count)
        seen += engine.train_step(padded(batches, padding) if step % 2 else batches, 1e-2)
    held_out = toy.share(toy.global_batch(1000, architecture="encoder"), here, count)
    seen.append(engine.evaluate(padded(held_out, padding)))
    world.stop()
    return seen


def padded(batches: list[Batch], padding: int) -> list[Batch]:
    """The same batches, the second of which has short rows."""
    short = dict(batches[1])
    real = np.arange(toy.LENGTH) < np.array([[9], [toy.LENGTH]])
    short["tokens"] = np.where(real, short["tokens"], padding)
    short["weights"] = np.where(real, short["weights"], 0).astype(np.float32)
    return [batches[0], {"segments": real.astype(np.int32)} | short, *batches[2:]]


def test_padding_changes_nothing_with_and_without_pipeline_stages() -> None:
    alone = run_world(1, train, 1, 0)[0]
    # The padding's own row of the word table and its positions get no gradient from it, so even norms agree.
    assert run_world(1, train, 1, 17)[0] == alone
    toy.assert_follows(run_world(2, train, 2, 0)[0], alone)
