"""A quantiser and a model of its tokens learn in every layout what they learn in one process.

Losses, metrics and the norms of gradients over two steps within 1e-5 of one another: float32 sums in other
orders.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from pipeline.config import ModelConfig, ObjectiveConfig, PipelineConfig, TrainConfig, VisionConfig
from pipeline.config.quantiser import QuantiserConfig
from pipeline.distributed import world
from pipeline.evaluation.images.codebook import measure
from pipeline.objectives.batches import Batch
from pipeline.objectives.model import model_layers
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.registry import objective_of
from pipeline.objectives.vision.quantised_patches import seen
from pipeline.parallel.engine import Engine
from tests.distributed.processes import leave_groups, run_world

BATCH, STEPS, PIECES, LENGTH, CODES = 4, 2, 40, 8, 6
LAYOUTS: dict[str, dict[str, Any]] = {
    "tensor": {"tensor": 2},
    "pipeline": {"pipeline": 2},
    "data": {"data": 2},
}


def config(kind: str, **parallel: Any) -> PipelineConfig:
    return PipelineConfig(
        name=kind,
        vision=VisionConfig(
            **{"image_size": 16, "patch_size": 4, "layers": 2, "hidden_size": 32, "heads": 2},
            **{"decoder_layers": 1, "decoder_hidden_size": 16, "decoder_heads": 2},
            class_token=False,
            pooling="mean",
            quantiser=QuantiserConfig(codes=CODES, code_size=4),
        ),
        model=ModelConfig(
            architecture="encoder_decoder", layers=2, encoder_layers=1, hidden_size=32, heads=2
        ),
        objective=ObjectiveConfig(kind=kind),  # type: ignore[arg-type]
        data={"sequence_length": LENGTH},
        parallel=parallel,
        train=optim(BATCH),
    )


def optim(size: int) -> TrainConfig:
    return TrainConfig(steps=STEPS, global_batch=BATCH, micro_batch=size, learning_rate=1e-3)


def batch(kind: str, given: PipelineConfig, step: int) -> Batch:
    """Four images; one of them is not real."""
    rng = np.random.default_rng(step)
    real = np.array([True, True, False, True])
    if kind == "quantised_patches":
        pixels = rng.integers(0, 256, (BATCH, 16, 16, 3), np.uint8)
        keys, none = np.arange(BATCH, dtype=np.uint64), np.zeros(BATCH, np.int64)
        samples = ImageSamples(pixels, none, ("",) * BATCH, keys, keys, real)
        assert given.vision is not None
        return seen(samples, given.vision)
    numbers = rng.integers(0, CODES, (BATCH, 16))
    lengths = np.array([8, 5, 1, 8])
    first = np.full((BATCH, 1), CODES)
    return {
        "encoder_tokens": rng.integers(2, PIECES, (BATCH, LENGTH)),
        "encoder_segments": (np.arange(LENGTH) < lengths[:, None]).astype(np.int32),
        "tokens": np.concatenate((first, numbers[:, :-1]), 1),
        "targets": numbers,
        "weights": np.repeat(real.astype(np.float32)[:, None], 16, 1),
    }


def trained(kind: str, parallel: dict[str, Any]) -> list[list[float]]:
    """Loss, norm and metrics of each step."""
    given = config(kind, **parallel)
    here = world.start(given.parallel, given.seed)
    size = BATCH // here.data_size
    layers = model_layers(given, PIECES, torch.float32)
    engine = Engine(
        layers, objective_of(given.objective), here, given.parallel, optim(size), torch.float32, given.seed
    )
    rows = slice(here.data_rank * size, (here.data_rank + 1) * size)
    found = []
    for step in range(STEPS):
        whole = batch(kind, given, step)
        loss, norm = engine.train_step([{name: a[rows] for name, a in whole.items()}], 1e-3)
        found.append([loss, norm, *engine.metrics.values()])
    if kind == "quantised_patches":
        held_out = {name: a[rows] for name, a in batch(kind, given, STEPS).items()}
        used = measure(engine, Held([held_out]), CODES)  # type: ignore[arg-type]
        found.append([*used.values()])
    return found


class Held(NamedTuple):
    """What a measure asks of a source of batches."""

    batches: list[Batch]

    def validation(self) -> Iterator[Batch]:
        return iter(self.batches)


def every(layouts: list[dict[str, Any]]) -> list[dict[str, list[list[float]]]]:
    """Both models in each of the layouts of a world."""
    found = []
    for layout in layouts:
        found.append({kind: trained(kind, layout) for kind in ("quantised_patches", "image_tokens")})
        leave_groups()
    return found


def test_layouts_learn_what_one_process_learns() -> None:
    (alone,) = run_world(1, every, [{}])
    for ranks in run_world(2, every, list(LAYOUTS.values())):
        for name, found in zip(LAYOUTS, ranks, strict=True):
            for kind, steps in alone[0].items():
                for step, wanted in enumerate(steps):
                    place = f"{kind}, {name}, step {step}"
                    np.testing.assert_allclose(found[kind][step], wanted, rtol=1e-5, err_msg=place)
