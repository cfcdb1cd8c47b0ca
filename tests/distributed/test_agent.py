"""An agent learns in every layout what it learns in one process.

Losses and norms of gradients over two steps within 1e-5 of one another: float32 sums in other orders.
"""

from typing import Any

import numpy as np
import torch

from pipeline.distributed import world
from pipeline.models.agent import agent_layers
from pipeline.objectives.batches import Batch
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine
from tests.distributed.processes import leave_groups, run_world
from tests.pipeline.agent.small import BATCH, LENGTH, config, interface

STEPS = 2
LAYOUTS: dict[str, dict[str, Any]] = {
    "tensor": {"tensor": 2},
    "sequence": {"tensor": 2, "sequence": True},
    "pipeline": {"pipeline": 2},
    "data": {"data": 2},
}


def batch(step: int) -> Batch:
    """Rows of steps, of text and of pictures; one is padding."""
    ids, rng = interface(image_size=16, patch_size=8, patch_channels=4), np.random.default_rng(step)
    places = np.full((BATCH, ids.patches), -1)
    places[:3] = np.arange(ids.patches) + np.array([[0], [5], [14]])
    return {
        "tokens": rng.integers(0, ids.size, (BATCH, LENGTH)),
        "targets": rng.integers(0, ids.size, (BATCH, LENGTH)),
        "weights": (rng.random((BATCH, LENGTH)) < np.linspace(0, 1, BATCH)[:, None]).astype(np.float32),
        "local_positions": rng.integers(-1, ids.places, (BATCH, LENGTH)),
        "pixels": rng.integers(0, 256, (BATCH, 16, 16, 3), np.uint8),
        "image_places": places,
        "patch_rows": rng.integers(0, 128, (BATCH, ids.patches)),
        "patch_columns": rng.integers(0, 128, (BATCH, ids.patches)),
    }


def trained(parallel: dict[str, Any]) -> list[list[float]]:
    """Loss and norm of each step."""
    size = BATCH // parallel.get("data", 1)
    given = config({name: one for name, one in parallel.items() if name != "data"}, micro_batch=size)
    here = world.start(given.parallel, given.seed)
    ids = interface(image_size=16, patch_size=8, patch_channels=4)
    objective = objective_of(given.objective)
    layers = agent_layers(given, ids, torch.float32, objective.head)
    engine = Engine(layers, objective, here, given.parallel, given.train, torch.float32, given.seed)
    rows, found = slice(here.data_rank * size, (here.data_rank + 1) * size), []
    for step in range(STEPS):
        own = {name: array[rows] for name, array in batch(step).items()}
        found.append([*engine.train_step([own], 1e-3)])
    return found


def every(layouts: list[dict[str, Any]]) -> list[list[list[float]]]:
    """Each of the layouts of a world."""
    found = []
    for layout in layouts:
        found.append(trained(layout))
        leave_groups()
    return found


def test_layouts_learn_what_one_process_learns() -> None:
    (alone,) = run_world(1, every, [{}])
    for ranks in run_world(2, every, list(LAYOUTS.values())):
        for name, found in zip(LAYOUTS, ranks, strict=True):
            np.testing.assert_allclose(found, alone[0], rtol=1e-5, err_msg=name)
