"""A fine-tuning that is killed and started again ends as one that never was, to the last digit."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import torch

from pipeline.checkpoints.format import Checkpoint, complete
from pipeline.stages.finetune import Finetune
from pipeline.training.run import run
from tests.distributed.processes import run_world, start_world
from tests.pipeline import tiny
from tests.pipeline.finetuning import made
from tests.pipeline.stages_of import run_pretraining

STEPS, KILLED_IN = 6, 4
SAME = ("loss", "gradient_norm", "learning_rate", "validation_loss", "accuracy")


def place_of(work: Path, name: str) -> Any:
    """A stage with dropout that saves every second step."""
    given = made.config("encoder")
    given = given.model_copy(update={"model": given.model.model_copy(update={"dropout": 0.1})})
    keys = {"steps": STEPS, "checkpoint_every": 2, "validate_every": 3, "epochs": None, "log_every": 1}
    own = made.settings({"kind": "classification"}, **keys)
    return made.stage(name, given, work, work / "pretrain", {"data": {"rows": work / "rows.jsonl"}}, own)


def pretrain(work: Path) -> None:
    given = made.config("encoder")
    train = given.train.model_copy(
        update={"steps": 1, "global_batch": 4, "micro_batch": 4, "validation_samples": 4}
    )
    run_pretraining(given.model_copy(update={"train": train}), work)
    made.train(place_of(work, "calm"))


def train_until_killed(work: Path, step: int) -> None:
    """The stage in this process, which ends itself by SIGKILL in a step."""
    kind, place = Finetune(), place_of(work, "killed")
    job = kind.job(place)

    def batches(world: Any) -> Any:
        source = kind.batches(place, job, world)
        plain = source.step

        def step_or_die(number: int) -> Any:
            if number == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(number)

        source.step = step_or_die  # type: ignore[method-assign]
        return source

    run(job, batches, make_task=kind.task(place, job))


def test_killed_and_started_again_is_the_same_training(tmp_path: Path) -> None:
    tiny.dataset(tmp_path / "dataset", {"train": tiny.sentences(40), "validation": tiny.sentences(8, 1)})
    made.write(tmp_path / "rows.jsonl", made.rows("classification", 60))
    run_world(1, pretrain, tmp_path)
    [process] = start_world(1, train_until_killed, tmp_path, KILLED_IN)
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    assert complete(tmp_path / "killed")[-1].name in ("step-000002", "step-000004"), (
        "written behind the steps"
    )
    run_world(1, made.train, place_of(tmp_path, "killed"))
    calm, killed = (lines(tmp_path / name / "metrics.jsonl") for name in ("calm", "killed"))
    assert calm == killed
    assert len(calm) == STEPS
    assert "accuracy" in calm[-1]
    one, two = (Checkpoint(complete(tmp_path / name)[-1]) for name in ("calm", "killed"))
    for path in one.index.tensors:
        assert torch.equal(one.weight(path), two.weight(path)), path


def lines(path: Path) -> list[dict[str, float]]:
    """What the steps came to, without what depends on the clock."""
    found = [json.loads(line) for line in path.open()]
    return [{name: line[name] for name in ("step", *SAME) if name in line} for line in found]
