"""Whole trainings with a task of their own: a companion from its run's checkpoint makes the labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_prep.contract.dataset import Dataset
from data_prep.contract.receipt import read_receipt
from pipeline.checkpoints.companions import open_companion
from pipeline.checkpoints.run_folder import checkpoint_folder
from pipeline.config import PipelineConfig
from pipeline.distributed import world
from pipeline.distributed.gathering import together
from pipeline.health import watchdog
from pipeline.health.stopping import StopRequest
from pipeline.health.watchdog import Watchdog
from pipeline.objectives.batches import Batch
from pipeline.objectives.model import model_layers
from pipeline.tracking import metrics
from pipeline.training.job import Job, open_folder
from pipeline.training.run import quiet
from pipeline.training.task import Companions, MakeTask, Task, own_objective
from pipeline.training.trainer import train
from tests.distributed import toy
from tests.distributed.distillation import Distillation, with_teacher
from tests.distributed.processes import run_world
from tests.distributed.test_incidents import Planted
from tests.pipeline import tiny

STEPS = 4


def configuration(model: dict[str, Any], pipeline: int) -> PipelineConfig:
    """A few steps, with a validation in the middle and no tracking server."""
    config = toy.config(model, pipeline=pipeline)
    optim = config.train.model_copy(update={"steps": STEPS, "validate_every": 2, "checkpoint_every": 100})
    tracking = config.tracking.model_copy(update={"enabled": False})
    return config.model_copy(update={"train": optim, "tracking": tracking})


def train_with(work: Path, dataset: Path, config: PipelineConfig, make_task: MakeTask) -> None:
    """A whole training in this process, one of the world's."""
    job = Job("pretrain", work, config, Dataset(dataset), {})
    here = world.start(config.parallel, config.seed)
    notify = print if here.is_main else quiet
    lock = together(lambda: open_folder(job, notify) if here.is_main else None)
    together(lambda: watchdog.open_folder(work / ".beats") if here.is_main else None)
    source = Planted(here, config.train, job.vocabulary.size, {})
    with Watchdog(work / ".beats", job.folder, here.rank, here.size, 600.0) as watch:
        train(job, here, source, notify, watch, StopRequest(), make_task)
    if lock:
        lock.close()
    world.stop()


def train_teacher(root: Path) -> None:
    train_with(root / "teacher", root / "dataset", configuration(toy.LLAMA, 1), own_objective)


def train_learner(root: Path, pipeline: int) -> None:
    """Distil from the teacher's last checkpoint."""
    run = root / "teacher" / "pretrain"

    def distillation(job: Job, here: world.World, dtype: torch.dtype) -> Task:
        teacher = open_companion(checkpoint_folder(run, STEPS), run, here, job.config.parallel, dtype)
        layers = model_layers(job.config, job.vocabulary.size, dtype)
        return Task(layers, Distillation(), companions={"teacher": teacher}, prepare=ask_the_teacher)

    train_with(root / f"{pipeline}", root / "dataset", configuration(toy.GPT, pipeline), distillation)


def ask_the_teacher(batches: list[Batch], companions: Companions) -> list[Batch]:
    return with_teacher(batches, companions["teacher"])


def test_a_distillation_is_trained_by_the_loop_of_every_stage(tmp_path: Path) -> None:
    """Metrics by name, of validation too, the same with and without pipeline stages to 1e-4 relative."""
    tiny.dataset(tmp_path / "dataset", {"train": ["a file."], "validation": ["a path."]})
    run_world(1, train_teacher, tmp_path)
    found = []
    for pipeline in (1, 2):
        run_world(pipeline, train_learner, tmp_path, pipeline)
        run = tmp_path / f"{pipeline}" / "pretrain"
        lines = metrics.read(run / metrics.METRICS)
        assert [line["loss"] for line in lines] == pytest.approx([line["divergence"] for line in lines])
        assert lines[-1]["validation_loss"] == pytest.approx(lines[-1]["validation_divergence"])
        receipt = read_receipt(run)
        assert receipt is not None
        assert receipt.counts["tokens"] == sum(held(step % 2) for step in range(STEPS))
        found.append([line[name] for line in lines for name in ("divergence", "teacher_entropy")])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


def held(seed: int) -> int:
    """Tokens of a batch up to the last weight of each row."""
    weighted = toy.global_batch(seed)["weights"] > 0
    return sum(int(np.flatnonzero(row).max()) + 1 for row in weighted)
