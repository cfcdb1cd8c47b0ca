"""The whole job on a small corpus of text files, through the commands a user would type.

A training is killed with SIGKILL in the middle and started again; the layout is changed on the way. The
uninterrupted run is the reference.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from data_prep.contract.names import printable
from launch.cli import app
from pipeline.tracking import metrics
from tests.pipeline import tiny

RECIPE = """
name: small
corpus: {kind: text, paths: [texts], validation_share: 0.1, document_bytes: 2000}
tokenizer: {kind: bpe, vocabulary_size: 480}
model: {layers: 2, hidden_size: 32, heads: 2}
data: {sequence_length: 32}
train: &optimizer
  steps: 30
  global_batch: 8
  micro_batch: 2
  learning_rate: 1.0e-2
  warmup_steps: 3
  validate_every: 10
  validation_samples: 16
  checkpoint_every: 10
  log_every: 10
tune:
  <<: *optimizer
  steps: 6
  data: [pairs.jsonl]
eval: {questions: 5, generated_tokens: 8}
"""
UNTRACKED = ("--set", "tracking.enabled=false")
"""Where nobody looks at MLflow, whose tables take seconds to make."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe beside its texts and its instruction pairs."""
    folder = tmp_path_factory.mktemp("main")
    (folder / "texts").mkdir()
    for seed in range(40):
        (folder / "texts" / f"{seed}.txt").write_text("\n\n".join(tiny.sentences(30, seed)))
    words = ("red", "green", "blue", "one", "two", "three")
    rows = [{"instruction": f"Say {word}.", "output": word} for word in words]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in 4 * rows))
    (folder / "small.yaml").write_text(RECIPE)
    return folder / "small.yaml"


def start(*arguments: str, work: Path) -> subprocess.Popen[str]:
    """A bloomery command in its own process group, tracked beside its work folder."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return subprocess.Popen(
        [sys.executable, "-c", "from launch.cli import main; main()", *arguments, "--work", str(work)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def done(*arguments: str, work: Path) -> str:
    """Run a command to its end; returns what it printed."""
    process = start(*arguments, work=work)
    printed, _ = process.communicate(timeout=900)
    assert process.returncode == 0, printed
    return printed


@pytest.fixture(scope="module")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The work folder of an uninterrupted `bloomery run`, and what it printed."""
    work = tmp_path_factory.mktemp("work") / "small"
    return work, done("run", str(recipe), "--json", work=work)


def series(run: Path) -> list[tuple[int, Any, Any]]:
    """Step, loss and validation loss of every line of a run's metrics."""
    lines = metrics.read(run / metrics.METRICS)
    return [(line["step"], line["loss"], line.get("validation_loss")) for line in lines]


def test_every_stage_leaves_what_it_should(finished: tuple[Path, str]) -> None:
    work, printed = finished
    for name in ("dataset", "pretrain", "tune", "eval"):
        assert (work / name / "receipt.json").is_file()
    assert (work / "report.html").stat().st_size > 10_000
    assert (work.parent / "mlflow.db").is_file()
    assert json.loads(printed.splitlines()[-1])["report"] == str(work / "report.html")
    assert [step for step, *_ in series(work / "pretrain")] == list(range(1, 31))
    assert sorted(path.name for path in (work / "pretrain" / "checkpoints").iterdir()) == [
        "step-000020",
        "step-000030",
    ]


def test_the_model_beats_a_unigram_model(finished: tuple[Path, str]) -> None:
    results = json.loads((finished[0] / "eval" / "results.json").read_text())
    unigram = results["validation"]["unigram"]["loss"]
    assert results["runs"]["pretrained"]["validation"]["loss"] < unigram - 0.3


def test_a_second_run_skips_everything(finished: tuple[Path, str], recipe: Path) -> None:
    work, _ = finished
    before = {path: path.stat().st_mtime_ns for path in work.rglob("receipt.json")}
    done("run", str(recipe), work=work)
    assert {path: path.stat().st_mtime_ns for path in work.rglob("receipt.json")} == before


def test_sigkill_and_the_same_command_again(finished: tuple[Path, str], recipe: Path, tmp_path: Path) -> None:
    expected, _ = finished
    work = tmp_path / "small"
    shutil.copytree(expected / "dataset", work / "dataset")
    process = start("train", str(recipe), *UNTRACKED, work=work)
    wait_for(lambda: (work / "pretrain" / "checkpoints" / "step-000010").is_dir(), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (work / "pretrain" / "receipt.json").is_file()
    assert "going on from" in done("train", str(recipe), *UNTRACKED, "--resume", work=work)
    assert series(work / "pretrain") == series(expected / "pretrain")


def wait_for(condition: Any, process: subprocess.Popen[str], seconds: float = 900.0) -> None:
    """Wait until something is so while a process runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def test_another_layout_gives_the_same_losses_and_other_settings_set_the_old_run_aside(
    finished: tuple[Path, str], recipe: Path
) -> None:
    """Tensor 2 by pipeline 2 through the launcher follows data parallel 2 within 1e-4 relative over 30 steps
    (float32 sums in another order, amplified by 30 Adam steps at a rate of 1e-2)."""
    work, _ = finished
    layout = ["--set", "parallel.tensor=2", "--set", "parallel.pipeline=2"]
    printed = done("train", str(recipe), *layout, "--set", "train.validation_samples=8", work=work)
    assert "is kept as" in printed
    [kept] = work.glob("pretrain.*")
    np.testing.assert_allclose(
        [loss for _, loss, _ in series(work / "pretrain")],
        [loss for _, loss, _ in series(kept)],
        rtol=1e-4,
    )


def test_world_size_that_does_not_match(recipe: Path, finished: tuple[Path, str]) -> None:
    sets = ["--set", "train.micro_batch=3", "--set", "train.steps=11"]
    process = start("train", str(recipe), *sets, work=finished[0])
    printed, _ = process.communicate(timeout=900)
    assert process.returncode == 2
    assert "global_batch 8 is not divisible by micro_batch 3" in printed


def test_a_corrupt_shard_is_one_sentence(recipe: Path, finished: tuple[Path, str], tmp_path: Path) -> None:
    work = tmp_path / "small"
    shutil.copytree(finished[0] / "dataset", work / "dataset")
    shard = work / "dataset" / "train" / "shard-00000.tar"
    content = bytearray(shard.read_bytes())
    for place in range(1000, len(content), 1000):
        content[place] ^= 1
    shard.write_bytes(content)
    process = start("train", str(recipe), *UNTRACKED, work=work)
    printed, _ = process.communicate(timeout=900)
    assert process.returncode == 2
    [error] = [line for line in printed.splitlines() if "rror" in line]
    assert error.startswith(f"error: {shard}: the block at byte ")
    assert not (work / "pretrain" / "receipt.json").exists()


def test_generate_and_inspect(finished: tuple[Path, str]) -> None:
    work, _ = finished
    for path, kind in (
        (work, "work folder"),
        (work / "dataset", "dataset"),
        (work / "tune", "run"),
        (work / "tune" / "checkpoints" / "step-000006", "checkpoint"),
    ):
        shown = CliRunner().invoke(app, ["inspect", str(path), "--json"])
        assert json.loads(shown.stdout.splitlines()[-1])["kind"] == kind
    command = ["generate", str(work / "tune"), "--prompt", "Say red.", "--chat", "--tokens", "5", "--json"]
    printed = subprocess.run(
        [sys.executable, "-c", "from launch.cli import main; main()", *command],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    [text] = json.loads(printed.splitlines()[-1])["texts"]
    assert printed.startswith(printable(text))
