"""A step whose loss or gradient is not finite changes nothing, on any rank, in any layout."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.config import PipelineConfig
from pipeline.distributed import world
from pipeline.objectives.losses import spread
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine
from pipeline.training.lr_schedule import learning_rate
from tests.distributed import toy
from tests.distributed.processes import run_world

BAD = 3
LAYOUTS = [
    (1, 1, 2, 0),
    (1, 1, 2, 1),
    (1, 1, 2, 2),
    (1, 1, 2, 3),
    (2, 1, 1, 0),
    (1, 2, 1, 0),
    (2, 2, 1, 1),
]
Trained = tuple[list[float], bool, int]


def train_past_all(tensor: int, pipeline: int, zero_stage: int) -> list[Trained]:
    """What `train_past` gives for a step that is left out, has a bad loss, has a bad gradient."""
    given = toy.config(toy.GPT, tensor, pipeline, zero_stage)
    here = world.start(given.parallel, given.seed)
    found = [train_past(given, here, how) for how in ("left out", "loss", "gradient")]
    world.stop()
    return found


def train_past(given: PipelineConfig, here: world.World, how: str) -> Trained:
    """Loss and norm of every step but the bad one, whether its numbers were wrong, and the updates made.

    `how` is what is bad about it: the loss on all ranks, or a matrix's gradient on the last rank alone.
    """
    layers = model_layers(given, toy.VOCABULARY, torch.float32)
    objective = objective_of(given.objective)
    engine = Engine(layers, objective, here, given.parallel, given.train, torch.float32, given.seed)
    accumulation = given.train.accumulation(here.data_size)
    seen: list[float] = []
    wrong = False
    for step in range(given.train.steps):
        batch = toy.global_batch(step % 2)
        if step == BAD:
            if how == "left out":
                continue
            handles = []
            if how == "loss":
                batch["weights"] = batch["weights"] * np.float32("inf")
            elif here.rank == here.size - 1:
                matrices = [one for name, one in engine.parameters.items() if "mlp.down.weight" in name]
                parameter = matrices[-1]
                handles.append(parameter.register_hook(lambda gradient: gradient * math.nan))
            numbers = engine.train_step(
                toy.share(batch, here, accumulation), learning_rate(step, given.train)
            )
            wrong = not all(math.isfinite(number) for number in numbers)
            for handle in handles:
                handle.remove()
            continue
        seen += engine.train_step(toy.share(batch, here, accumulation), learning_rate(step, given.train))
    seen.append(engine.evaluate(toy.share(toy.global_batch(1000), here, accumulation)))
    return seen, wrong, engine.updates


@pytest.mark.parametrize(("tensor", "pipeline", "data", "zero_stage"), LAYOUTS)
def test_a_bad_step_changes_nothing(tensor: int, pipeline: int, data: int, zero_stage: int) -> None:
    """Bit for bit what a run computes that never sees it."""
    for found in run_world(tensor * pipeline * data, train_past_all, tensor, pipeline, zero_stage):
        (without, _, updates), *others = found
        assert updates == 7
        assert others == [(without, True, 7)] * 2, "every rank knows, and none has changed"


@pytest.mark.parametrize(("logit", "is_wrong"), [(-math.inf, True), (-3.0, False)])
def test_an_infinite_loss_has_no_finite_gradient(logit: float, is_wrong: bool) -> None:
    """Cross-entropy by itself has one: the softmax less 1 at the target."""
    logits = torch.tensor([[0.0, 0.0, logit]], requires_grad=True)
    plain = F.cross_entropy(logits, torch.tensor([2]))
    (expected,) = torch.autograd.grad(plain, logits, retain_graph=True)
    assert expected.isfinite().all()
    (found,) = torch.autograd.grad(spread(plain), logits)
    assert found.isnan().all() if is_wrong else found.equal(expected)
    assert bool(spread(plain).isfinite()) != is_wrong
