"""A training that starts from another run's weights takes those that are there and draws the rest."""

from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.contract.settings import InputError
from pipeline.checkpoints import saving
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import checkpoint_folder
from pipeline.config import ObjectiveConfig
from pipeline.distributed import world
from pipeline.distributed.world import World
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine
from tests.distributed import toy
from tests.distributed.processes import run_world

LAYOUTS = [(1, 2, 1, 1), (1, 1, 2, 3)]
"""Tensor, pipeline and data parallel size, ZeRO stage."""


def engine(task: str, layout: tuple[int, int, int, int], seed: int) -> tuple[Engine, World]:
    """BERT with or without a sentence head."""
    objective = ObjectiveConfig.model_validate({"kind": "masked_lm", "sentence_task": task})
    given = toy.config(toy.BERT, layout[0], layout[1], layout[3])
    given = given.model_copy(update={"objective": objective})
    here = world.start(given.parallel, seed)
    layers = model_layers(given, toy.VOCABULARY, torch.float32)
    loss = objective_of(objective)
    return Engine(layers, loss, here, given.parallel, given.train, torch.float32, seed), here


def weights(one: Engine, run: Path, step: int) -> dict[str, Any]:
    """Every weight as a checkpoint has it."""
    checkpoint = Checkpoint(saving.save(one, run, step))
    return {name: checkpoint.weight(name).numpy() for name in checkpoint.index.tensors}


def start_with_a_new_head(run: Path, layout: tuple[int, int, int, int]) -> dict[str, Any]:
    """What is told, and the weights before and after, of a head added and of a head left out."""
    plain, _ = engine("none", layout, 1)
    without = weights(plain, run / "plain", 1)
    learner, _ = engine("next_sentence", layout, 2)
    drawn = weights(learner, run / "drawn", 1)
    checkpoint = Checkpoint(checkpoint_folder(run / "plain", 1))
    problem = ""
    try:
        saving.load_weights(learner, checkpoint, ("next_sentence.classify",))
    except InputError as error:
        problem = str(error)
    added = saving.load_weights(learner, checkpoint, ("next_sentence",))
    taken = weights(learner, run / "taken", 1)
    other, _ = engine("none", layout, 3)
    dropped = saving.load_weights(other, Checkpoint(checkpoint_folder(run / "taken", 1)))
    last = weights(other, run / "last", 1)
    world.stop()
    same = [(taken[name] == one).all() for name, one in without.items()]
    same += [(last[name] == one).all() for name, one in without.items()]
    new = {name: bool((taken[name] == one).all()) for name, one in drawn.items() if name not in without}
    return {"same": all(same), "new": new, "problem": problem, "told": (added, dropped)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_new_head_is_drawn_and_the_rest_is_taken(layout: tuple[int, int, int, int], tmp_path: Path) -> None:
    names = "next_sentence.classify.*, next_sentence.pool.*"
    ranks = run_world(layout[0] * layout[1] * layout[2], start_with_a_new_head, tmp_path, layout)
    assert all("next_sentence.pool" in found["problem"] for found in ranks), "that one may not be new"
    for found in ranks:
        assert found["same"]
        assert len(found["new"]) == 4
        assert all(found["new"].values()), "what is new stays as it was drawn"
        assert found["told"] == (f"new: {names}", f"not taken: {names}")
