"""Planted bad batches in whole trainings: what is left out, gone back past, told, and gone on from.

A source of batches that knows by itself which ones to leave out is the reference, bit for bit.
"""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from pipeline.config import OptimizerConfig
from pipeline.distributed import world
from pipeline.distributed.gathering import together
from pipeline.health import watchdog
from pipeline.health.stopping import StopRequest
from pipeline.health.watchdog import Watchdog
from pipeline.objectives.batches import Batch
from pipeline.tracking import metrics
from pipeline.training.job import Job, open_folder
from pipeline.training.loss_guard import SKIPPED, SPIKES
from pipeline.training.run import quiet
from pipeline.training.trainer import train
from tests.distributed import toy
from tests.distributed.processes import run_world, start_world
from tests.pipeline import tiny

STEPS, BAD = 24, 15


class Planted:
    """The toy's batches, one of which is bad, and some of which may be missing from the order."""

    def __init__(self, here: world.World, optim: OptimizerConfig, pieces: int, plan: dict[str, Any]) -> None:
        self.here, self.pieces, self.plan = here, pieces, plan
        self.accumulation = optim.accumulation(here.data_size)

    def step(self, step: int) -> list[Batch]:
        """Batches of the rank; targets in a random order make the loss leap."""
        step = [batch for batch in range(2 * STEPS) if batch not in self.plan.get("missing", [])][step]
        if step == self.plan.get("dies at"):
            os.kill(os.getpid(), signal.SIGKILL)
        batch = self._batch(step % 2)
        if step in self.plan.get("infinite", []):
            batch["weights"] = batch["weights"] * np.float32(np.inf)
        if step in self.plan.get("leaps", []):
            batch["targets"] = (batch["targets"] + 1 + step) % self.pieces
        return toy.share(batch, self.here, self.accumulation)

    def _batch(self, seed: int) -> Batch:
        batch = toy.global_batch(seed)
        return batch | {name: batch[name] % self.pieces for name in ("tokens", "targets")}

    def validation(self) -> Iterator[Batch]:
        yield from toy.share(self._batch(1000), self.here, self.accumulation)

    def documents(self, step: int) -> list[dict[str, Any]]:
        return [{"document": f"document {step}"}]

    def report(self, steps: int) -> list[dict[str, Any]]:
        return []

    def close(self) -> None:
        """Nothing to stop."""


def train_planted(work: Path, keys: dict[str, Any], plan: dict[str, Any]) -> str | None:
    """A whole training in this process, one of the world's; returns what it ended with."""
    config = toy.config(toy.GPT | {"dropout": 0.1})
    optim = config.train.model_copy(
        update={
            "steps": STEPS,
            "checkpoint_every": 6,
            "validate_every": 100,
            "spike_window": 8,
            "spike_threshold": 4.0,
        }
        | keys
    )
    config = config.model_copy(
        update={"train": optim, "tracking": config.tracking.model_copy(update={"enabled": False})}
    )
    job = Job("pretrain", work, config, Dataset(work / "dataset"), {})
    here = world.start(config.parallel, config.seed)
    notify = print if here.is_main else quiet
    lock = together(lambda: open_folder(job, notify) if here.is_main else None)
    together(lambda: watchdog.open_folder(work / ".beats") if here.is_main else None)
    source = Planted(here, optim, job.vocabulary.size, plan)
    with Watchdog(work / ".beats", job.folder, here.rank, here.size, 600.0) as watch:
        try:
            train(job, here, source, notify, watch, StopRequest())
        except InputError as error:
            return str(error)
        finally:
            if lock:
                lock.close()
    world.stop()
    return None


@pytest.fixture
def work(tmp_path: Path) -> Path:
    tiny.dataset(tmp_path / "work" / "dataset", {"train": ["a file."], "validation": ["a path."]})
    return tmp_path / "work"


@pytest.fixture
def other(work: Path) -> Path:
    tiny.dataset(work.parent / "other" / "dataset", {"train": ["a file."], "validation": ["a path."]})
    return work.parent / "other"


def losses(work: Path) -> list[tuple[int, float]]:
    """Step and loss of every line of the metrics."""
    return [(line["step"], line["loss"]) for line in metrics.read(work / "pretrain" / metrics.METRICS)]


def spikes(work: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (work / "pretrain" / SPIKES).read_text().splitlines()]


def weights(work: Path) -> bytes:
    """The last checkpoint of both ranks."""
    folder = work / "pretrain" / "checkpoints" / f"step-{STEPS:06d}"
    names = [f"{kind}-{rank:05d}.safetensors" for kind in ("weights", "optimizer") for rank in (0, 1)]
    return b"".join((folder / name).read_bytes() for name in names)


def test_a_run_goes_back_past_a_spike_and_leaves_its_batch_out(work: Path, other: Path) -> None:
    run_world(2, train_planted, work, {"spike_rollbacks": 1}, {"leaps": [BAD]})
    [line] = spikes(work)
    assert (line["step"], line["batch"], line["kind"]) == (BAD + 1, BAD, "spike")
    assert line["loss"] > line["limit"] > line["median"]
    assert line["action"] == "gone back to step 12"
    assert line["documents"] == [{"document": f"document {BAD}"}]
    assert json.loads((work / "pretrain" / SKIPPED).read_text())["skipped"] == [[BAD, BAD + 1]]
    run_world(2, train_planted, other, {}, {"missing": [BAD]})
    assert losses(work) == losses(other)
    assert weights(work) == weights(other)


def test_a_run_killed_after_going_back_leaves_the_same_batches_out(work: Path, other: Path) -> None:
    """Killed at the batch after the one left out, before another checkpoint; the second job goes on."""
    keys, plan = {"spike_rollbacks": 1, "spike_skip": 2}, {"leaps": [BAD]}
    ranks = start_world(2, train_planted, work, keys, plan | {"dies at": BAD + 1})
    for process in ranks:
        process.join(600)
    assert ranks[0].exitcode == -signal.SIGKILL
    assert json.loads((work / "pretrain" / SKIPPED).read_text()) == {
        "skipped": [[BAD - 1, BAD + 1]],
        "rollbacks": 1,
    }
    run_world(2, train_planted, work, keys, plan)
    run_world(2, train_planted, other, {}, {"missing": [BAD - 1, BAD]})
    assert losses(work) == losses(other)
    assert weights(work) == weights(other)
    assert len(spikes(work)) == 1
    index = work / "pretrain" / "checkpoints" / f"step-{STEPS:06d}" / "checkpoint.json"
    assert json.loads(index.read_text())["memory"]["skipped"] == [[BAD - 1, BAD + 1]]


def test_a_spike_is_only_logged_where_the_recipe_says_no_more(work: Path) -> None:
    run_world(2, train_planted, work, {}, {"leaps": [BAD]})
    assert [line["action"] for line in spikes(work)][:1] == ["kept"]
    assert [step for step, _ in losses(work)] == list(range(1, STEPS + 1))
    assert not (work / "pretrain" / SKIPPED).exists()


def test_steps_that_are_not_finite_change_nothing_within_the_limit(work: Path, other: Path) -> None:
    """A kill in between must not change Adam's count of its steps, nor how many were wrong in a row."""
    plan = {"infinite": [4, 5, 6, 9]}
    run_world(2, train_planted, work, {"skip_nonfinite": 3}, plan)
    assert [(line["step"], line["kind"], line["action"]) for line in spikes(work)] == [
        (step, "nonfinite", "left out") for step in (5, 6, 7, 10)
    ]
    ranks = start_world(2, train_planted, other, {"skip_nonfinite": 3}, plan | {"dies at": 8})
    for process in ranks:
        process.join(600)
    run_world(2, train_planted, other, {"skip_nonfinite": 3}, plan)
    assert losses(work) == losses(other)
    assert weights(work) == weights(other)
    index = work / "pretrain" / "checkpoints" / f"step-{STEPS:06d}" / "checkpoint.json"
    assert json.loads(index.read_text())["updates"] == STEPS - 4


def test_too_many_in_a_row_end_the_run_with_one_sentence(work: Path) -> None:
    said = run_world(2, train_planted, work, {"skip_nonfinite": 1}, {"infinite": [7, 8]})
    assert said[0] == said[1]
    assert "not finite in 2 steps in a row, the last of them step 9 (loss nan" in said[0]
    assert "more than skip_nonfinite 1; its batch holds the documents document 8 (all in" in said[0]
