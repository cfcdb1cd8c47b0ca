"""Kinds of stages from outside, run by the command: killed, gone on, tracked, reported, done again if due."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from data_prep.contract.receipt import read_receipt
from launch.cli import app
from pipeline.reports.publish import sync
from pipeline.stages import registry
from pipeline.tracking import metrics
from tests.pipeline.tracking.store import Store

BLOOMERY = [sys.executable, "-c", "from launch.cli import main; main()"]
ROOT = Path(__file__).parents[2]
KINDS = "tests.launch.plugin:Count,tests.launch.plugin:Echo"
TRAINING = {"steps": 4, "global_batch": 4, "micro_batch": 4, "warmup_steps": 1, "validation_samples": 4}


def bloomery(*arguments: str) -> "subprocess.Popen[str]":
    paths = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}".rstrip(":")
    environment = {**os.environ, "BLOOMERY_KINDS": KINDS, "PYTHONPATH": paths}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.Popen(
        [*BLOOMERY, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def done(*arguments: str) -> str:
    process = bloomery(*arguments)
    printed = process.communicate(timeout=900)[0]
    assert process.returncode == 0, printed
    return printed


def states(recipe: Path, work: Path, *sets: str) -> dict[str, str]:
    given = [word for one in sets for word in ("--set", one)]
    command = ["stages", str(recipe), "--work", str(work), "--json", *given]
    registry.kinds.cache_clear()
    shown = CliRunner().invoke(app, command, env={"BLOOMERY_KINDS": KINDS})
    registry.kinds.cache_clear()
    return {one["name"]: one["state"] for one in json.loads(shown.stdout.splitlines()[-1])["stages"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path) -> Path:
    """A work folder in which a recipe of four stages was killed in two of them, and run again to its end."""
    folder = tmp_path_factory.mktemp("stages")
    recipe: dict[str, Any] = {
        "model": {"layers": 1, "hidden_size": 32, "heads": 2},
        "data": {"sequence_length": 32},
        "train": TRAINING,
        "stages": {
            "base": {"kind": "pretrain", "data": str(tiny_dataset)},
            "counts": {"kind": "count_tokens", "data": str(tiny_dataset), "seconds": 2.0},
            "left": {"kind": "pretrain", "data": str(tiny_dataset), "from": "base"},
            "right": {
                "kind": "echo",
                "data": str(tiny_dataset),
                "from": "base",
                **TRAINING,
                "steps": 60,
                "checkpoint_every": 5,
                "keep_checkpoints": 20,
            },
        },
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(recipe))
    killed_when(folder, lambda work: (work / "counts" / "train.txt").is_file())
    killed_when(folder, lambda work: any((work / "right" / "checkpoints").glob("step-*")))
    (folder / "log").write_text(done("run", str(folder / "mine.yaml"), "--work", str(folder / "work")))
    return folder


def killed_when(folder: Path, condition: Any) -> None:
    """Run the recipe until something is there, and take everything away at once."""
    process = bloomery("run", str(folder / "mine.yaml"), "--work", str(folder / "work"))
    deadline = time.monotonic() + 900
    while not condition(folder / "work"):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)  # ranks die with the launcher, and that with the command
    process.wait()


def test_a_computation_from_outside_goes_on_from_its_finished_parts(place: Path) -> None:
    receipt = read_receipt(place / "work" / "counts")
    assert receipt is not None
    assert (receipt.stage, receipt.kind) == ("counts", "count_tokens")
    assert receipt.counts["train"] > receipt.counts["validation"] > 0
    assert "counts: counted train" not in (place / "log").read_text(), "the first process had that part done"


def test_a_training_from_outside_goes_on_from_its_checkpoint(place: Path) -> None:
    assert "right: going on from" in (place / "log").read_text()
    lines = metrics.read(place / "work" / "right" / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 61))


def test_two_trainings_start_from_one_stage(place: Path) -> None:
    first = {
        name: metrics.read(place / "work" / name / "metrics.jsonl")[0]["loss"]
        for name in ("base", "left", "right")
    }
    assert first["left"] == first["right"] < first["base"], "the same weights on the same batch"


def test_a_changed_key_makes_stale_what_depends_on_it(place: Path) -> None:
    recipe, work = place / "mine.yaml", place / "work"
    names = ("base", "counts", "left", "right")
    assert states(recipe, work) == dict.fromkeys(names, "done")
    for key, stale in (
        ("stages.left.learning_rate=0.5", {"left"}),
        ("stages.base.steps=5", {"base", "left", "right"}),
        ("stages.counts.seconds=1", {"counts"}),
        ("model.layers=2", {"base", "left", "right"}),
    ):
        found = states(recipe, work, key)
        assert {name for name in names if found[name] == "out of date"} == stale, key


def test_they_stand_in_mlflow_and_in_the_report(place: Path) -> None:
    sync(place / "work")  # what a machine with much to do has left for later
    store = Store(f"sqlite:///{place / 'mlflow.db'}")
    parent = store.run("work")
    for name in ("base", "counts", "left", "right"):
        assert store.run(name).data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert store.values("counts", "train")[0] > 0
    assert len(store.steps("right", "loss")) == 60
    report = (place / "work" / "report.html").read_text()
    for words in ("Token counts", "Echo training", "tokens counted", "tokens, &lt;not HTML&gt;"):
        assert words in report
    assert (place / "work" / "plots" / "right_loss.png").is_file()
