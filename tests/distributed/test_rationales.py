"""A model that an image is fused into learns in every layout what it learns in one process.

Losses and norms of gradients over two steps within 1e-5 of one another: float32 sums in other orders. So with
a tower that stays as it is, and with one that learns, to which gradients go back through what looks at it.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.config import ModelConfig, ObjectiveConfig, PipelineConfig, TrainConfig, VisionConfig
from pipeline.distributed import world
from pipeline.objectives.batches import Batch
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel import state
from pipeline.parallel.engine import Engine
from tests.distributed.processes import leave_groups, run_world
from tests.pipeline.vision import references as ref

BATCH, STEPS, PIECES, LENGTH = 4, 2, 40, 8
FROZEN: dict[str, list[str]] = {"tower as it is": ["image.*"], "all learns": []}
LAYOUTS: dict[str, dict[str, Any]] = {
    "tensor": {"tensor": 2},
    "pipeline": {"pipeline": 2},
    "data": {"data": 2},
    "sequence": {"tensor": 2, "sequence": True},
}


def config(frozen: list[str], **parallel: Any) -> PipelineConfig:
    return PipelineConfig(
        name="rationales",
        vision=VisionConfig(
            **{"image_size": 16, "patch_size": 4, "layers": 2, "hidden_size": 24, "heads": 2},
            class_token=False,
            pooling="mean",
        ),
        model=ModelConfig(
            architecture="encoder_decoder", layers=2, encoder_layers=1, hidden_size=32, heads=2
        ),
        objective=ObjectiveConfig(kind="image_rationales"),
        data={"sequence_length": LENGTH},
        parallel=parallel,
        train=optim(BATCH, frozen),
    )


def optim(size: int, frozen: list[str]) -> TrainConfig:
    return TrainConfig(steps=STEPS, global_batch=BATCH, micro_batch=size, learning_rate=1e-3, freeze=frozen)


def batch(step: int) -> Batch:
    """Four pictures with texts of several lengths; about one nothing is said."""
    rng = np.random.default_rng(step)
    read, said = (np.arange(LENGTH) < np.array(sizes)[:, None] for sizes in ([8, 5, 1, 8], [3, 8, 0, 1]))
    targets = rng.integers(2, PIECES, (BATCH, LENGTH))
    return {
        "encoder_tokens": rng.integers(2, PIECES, (BATCH, LENGTH)),
        "encoder_segments": read.astype(np.int32),
        "tokens": np.concatenate((np.zeros((BATCH, 1), np.int64), targets[:, :-1]), 1),
        "targets": targets,
        "weights": said.astype(np.float32),
        "pixels": rng.integers(0, 256, (BATCH, 16, 16, 3), np.uint8),
    }


def weight(path: str, shape: torch.Size) -> Tensor:
    """Larger weights between a tower and a text than are drawn, so that both learn much of each other."""
    return ref.weight(path, shape) * (3 if path.startswith(("projector", "fusion")) else 1)


def trained(frozen: list[str], parallel: dict[str, Any]) -> list[tuple[float, float]]:
    """Loss and norm of each step."""
    given = config(frozen, **parallel)
    here = world.start(given.parallel, given.seed)
    size = BATCH // here.data_size
    engine = Engine(
        model_layers(given, PIECES, torch.float32),
        objective_of(given.objective),
        here,
        given.parallel,
        optim(size, frozen),
        torch.float32,
        given.seed,
    )
    wholes = engine.whole_shapes()
    state.restore_weights(engine, lambda path: weight(path, torch.Size(wholes[path])))
    rows = slice(here.data_rank * size, (here.data_rank + 1) * size)
    return [
        engine.train_step([{name: a[rows] for name, a in batch(step).items()}], 1e-3) for step in range(STEPS)
    ]


def every(layouts: list[dict[str, Any]]) -> list[dict[str, list[tuple[float, float]]]]:
    """With and without a frozen tower in each of the layouts of a world."""
    found = []
    for layout in layouts:
        steps = {}
        for name, frozen in FROZEN.items():
            steps[name] = trained(frozen, layout)
            leave_groups()
        found.append(steps)
    return found


def test_layouts_learn_what_one_process_learns() -> None:
    (alone,) = run_world(1, every, [{}])
    losses, norms = zip(*(alone[0][name][0] for name in FROZEN), strict=True)
    assert losses[0] == losses[1]
    assert norms[1] > 1.001 * norms[0], "the tower's gradients are a part that would be missed"
    for ranks in run_world(2, every, list(LAYOUTS.values())):
        for name, found in zip(LAYOUTS, ranks, strict=True):
            for frozen, steps in alone[0].items():
                np.testing.assert_allclose(found[frozen], steps, rtol=1e-5, err_msg=f"{frozen}, {name}")
