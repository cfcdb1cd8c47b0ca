"""Rates by name and by depth, no decay by name, freezing and the average of weights, in every layout.

The reference is torch's AdamW over groups that are written out here, on a model of one process. Layouts
follow it to the tolerance of `toy.assert_follows`; averages to 1e-4, of weights that move by 1e-2 a step: the
gradient of a bias of keys is rounding alone, of which Adam makes steps too.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.checkpoints.format import Checkpoint, complete
from pipeline.config import PipelineConfig
from pipeline.distributed import world
from pipeline.models.initialize import initialize
from pipeline.objectives.losses import weighted_cross_entropy
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack
from pipeline.training.lr_schedule import learning_rate
from tests.distributed import toy
from tests.distributed.processes import leave_groups, run_world

STEPS, SAVED_AT, DECAY = 8, 8, 0.8
RATES = {
    "words": 0.5**4,
    "positions": 0.5**4,
    "blocks.0": 0.5**3,
    "blocks.1": 0.25,
    "blocks.2": 0.5,
    "norm": 1,
}
"""Of a layer decay of one half over three blocks."""
FIRST_STAGE = ["words.*", "positions.*", "blocks.0.*", "blocks.1.*"]
LAST_STAGE = ["words.*", "blocks.2.*", "norm.*"]
CASES: dict[str, dict[str, Any]] = {
    "groups": {"layer_decay": 0.5, "rates": {"*.mlp.*": 2.0}, "no_decay": ["positions.*"], "average": DECAY},
    "first stage frozen": {"freeze": FIRST_STAGE, "average": DECAY},
    "last stage frozen": {"freeze": LAST_STAGE},
}
LAYOUTS: list[dict[str, Any]] = [
    {"zero_stage": 0},
    {"zero_stage": 1},
    {"zero_stage": 3},
    {"tensor": 2, "zero_stage": 2},
    {"pipeline": 2, "zero_stage": 0},
    {"pipeline": 2, "zero_stage": 1},
]
Trained = tuple[list[float], dict[str, NDArray[np.float32]]]


def settings(case: str, **layout: Any) -> PipelineConfig:
    """The toy GPT, whose first pipeline stage of two ends with its second block."""
    return toy.config(toy.GPT, steps=STEPS, train=CASES[case], **layout)


def references() -> dict[str, Trained]:
    """Losses and norms in the form of `toy.train`, and averages or weights at the end."""
    return {case: reference(case) for case in CASES}


def reference(case: str) -> Trained:
    """One case."""
    given = settings(case)
    world.start_alone(given.seed)
    stack = Stack(model_layers(given, toy.VOCABULARY, torch.float32))
    named = dict(stack.named())
    initialize(named.items(), given.seed, 0, 1)
    groups, factors = [], []
    for name, parameter in named.items():
        layer = name[: len("blocks.0")] if name.startswith("blocks") else name.split(".")[0]
        if any(name.startswith(pattern[:-1]) for pattern in CASES[case].get("freeze", [])):
            parameter.requires_grad_(False)
            continue
        grouped = case == "groups"
        factors.append(RATES[layer] * (2.0 if ".mlp." in name else 1.0) if grouped else 1.0)
        no_decay = parameter.dim() == 1 or (grouped and layer == "positions")
        groups.append({"params": [parameter], "weight_decay": 0.0 if no_decay else 0.1})
    adam = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8)
    averages = {name: parameter.detach().clone() for name, parameter in named.items()}
    seen = []
    for step in range(STEPS):
        stack.zero_grad()
        value = batch_loss(stack, step % 2)
        value.backward()
        norm = nn.utils.clip_grad_norm_(stack.parameters(), given.train.clip_gradient_norm)
        for group, factor in zip(adam.param_groups, factors, strict=True):
            group["lr"] = factor * learning_rate(step, given.train)
        adam.step()
        seen += [float(value), float(norm)]
        decay = DECAY if given.train.average else 0.0
        for name, parameter in named.items():
            averages[name] = decay * averages[name] + (1 - decay) * parameter.detach()
    found = {name: average.numpy() for name, average in averages.items()}
    return [*seen, float(batch_loss(stack, 1000))], found


def batch_loss(stack: Stack, number: int) -> Tensor:
    """Mean over the weights of one of the toy's global batches."""
    batch = {name: torch.from_numpy(array) for name, array in toy.global_batch(number).items()}
    weights = batch["weights"] / batch["weights"].sum()
    return weighted_cross_entropy(stack({"tokens": batch["tokens"]})["logits"], batch["targets"], weights)


def in_layouts(run: Path) -> dict[tuple[str, str], list[float]]:
    """Each case in each layout, with a checkpoint at the end; and from halfway into another layout."""
    found = {}
    for number, layout in enumerate(LAYOUTS):
        for case in CASES:
            folder = run / case / str(number)
            found[case, str(layout)] = toy.train_on(settings(case, **layout), folder, False, SAVED_AT)
            leave_groups(layout=False)
        leave_groups()
    for case in CASES:
        half = run / case / "half"
        toy.train_on(settings(case, pipeline=2, zero_stage=1), half, False, 4)
        leave_groups()
        for zero_stage in (0, 3):
            resumed = toy.train_on(settings(case, zero_stage=zero_stage), half, True)
            found[case, f"resumed under ZeRO {zero_stage}"] = resumed
            leave_groups()
    world.stop()
    return found


@pytest.fixture(scope="module")
def expected() -> dict[str, Trained]:
    return run_world(1, references)[0]


def test_layouts_follow_groups_that_are_written_out(expected: dict[str, Trained], tmp_path: Path) -> None:
    for (case, what), result in run_world(2, in_layouts, tmp_path, seconds=900)[0].items():
        losses = expected[case][0]
        toy.assert_follows(result, losses[8:] if "resumed" in what else losses, f"{case}, {what}")
    for case, (_, averages) in expected.items():
        for number, layout in enumerate(LAYOUTS):
            checkpoint = Checkpoint(complete(tmp_path / case / str(number))[-1])
            for name, wanted in averages.items():
                found = checkpoint.merged(name, average=bool(CASES[case].get("average")))
                np.testing.assert_allclose(
                    found, wanted, atol=1e-4, rtol=0, err_msg=f"{case} {layout} {name}"
                )


def test_frozen_weights_stay_and_take_no_states(expected: dict[str, Trained], tmp_path: Path) -> None:
    """In the reference, which layouts follow; and in what a checkpoint holds."""
    given = settings("first stage frozen", zero_stage=1)
    run_world(1, toy.train, given, tmp_path, False, SAVED_AT)
    entries = Checkpoint(complete(tmp_path)[-1]).index.tensors
    frozen = {name for name in entries if any(name.startswith(one[:-1]) for one in FIRST_STAGE)}
    assert frozen
    assert all(entries[name].states == () for name in frozen)
    assert all(entries[name].states == ("exp_avg", "exp_avg_sq", "average") for name in set(entries) - frozen)


def every_optimizer() -> dict[tuple[str, str], list[float]]:
    """Each optimizer with a first pipeline stage that is frozen, in stages and without."""
    found = {}
    for name in ("adafactor", "lamb", "muon"):
        train = {"optimizer": name, "freeze": FIRST_STAGE, "average": DECAY}
        for layout in ({"zero_stage": 0}, {"pipeline": 2, "zero_stage": 0}, {"pipeline": 2, "zero_stage": 1}):
            given = toy.config(toy.GPT, steps=STEPS, train=train, **layout)
            found[name, str(layout)] = toy.train_on(given)
            leave_groups()
    world.stop()
    return found


def test_every_optimizer_steps_where_a_stage_has_nothing_to_train() -> None:
    """Without stages they equal other implementations (`test_optimizers`)."""
    found = run_world(2, every_optimizer, seconds=400)[0]
    for (name, what), result in found.items():
        toy.assert_follows(result, found[name, "{'zero_stage': 0}"], f"{name} {what}")
