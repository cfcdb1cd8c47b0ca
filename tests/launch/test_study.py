"""A study as stages: what it trains, in which order, and where; killed at random moments it ends the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from data_prep.contract.settings import InputError
from data_prep.contract.stages import Stage
from launch import recipe as recipes
from launch.cli import app
from launch.estimate import together
from launch.graph import Graph, graph
from launch.local import LocalLauncher, Place, places
from launch.runner import TrainingFailedError
from launch.side_by_side import SideBySide, groups, was_stopped
from pipeline.config import OptimizerConfig, ParallelConfig
from pipeline.health.stopping import RESUME

BLOOMERY = [sys.executable, "-c", "from launch.cli import main; main()"]
ROOT = Path(__file__).parents[2]
RECIPE: dict[str, Any] = {
    "name": "toy",
    "model": {"positions": "rope"},
    "data": {"sequence_length": 32},
    "parallel": {"data": 1},
    "train": {"micro_batch": 4, "validation_samples": 4, "checkpoint_every": 6, "log_every": 100},
    "study": {
        "sizes": ["1x16", "1x32", "2x32"],
        "budgets": [3000, 6000, 12000],
        "budget_in": "tokens",
        "largest": [{"size": "2x32", "budget": 24000}],
        "head_size": 16,
        "batch": 4,
        "learning_rate": {32: 4e-3},
        "resamples": 20,
    },
}


def written(folder: Path, dataset: Path, **study: Any) -> Path:
    path = folder / "toy.yaml"
    recipe = RECIPE | {"study": RECIPE["study"] | {"data": str(dataset)} | study}
    path.write_text(yaml.safe_dump(recipe))
    return path


def made(folder: Path, dataset: Path, **study: Any) -> Graph:
    return graph(recipes.load(written(folder, dataset, **study)), folder / "work")


def test_a_study_is_a_graph_of_stages(tmp_path: Path, tiny_dataset: Path) -> None:
    found = made(tmp_path, tiny_dataset)
    names = list(found.stages)
    assert names[:3] == ["1x16-3e3", "1x16-6e3", "1x16-1p2e4"]
    assert names[-5:-1] == ["forecast", "2x32-2p4e4", "law", "emergence"], (
        "the largest is trained behind its forecast"
    )
    assert "2x32-2p4e4" not in found.stages["forecast"].needs()
    assert set(found.stages["law"].needs()) == {*names[:-3]}
    model = found.stages["2x32-3e3"].sections["model"]
    assert (model.layers, model.hidden_size, model.heads) == (2, 32, 2)  # type: ignore[attr-defined]


def test_without_a_dataset_the_corpus_is_prepared(tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(RECIPE | {"tokenizer": {"vocabulary_size": 512}}))
    found = graph(recipes.load(path), tmp_path / "work")
    assert next(iter(found.stages)) == "dataset"
    assert found.stages["law"].needs()[-1] == "forecast"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"stages": {"dataset": {"kind": "prep"}}}, "both study and stages"),
        ({"study": RECIPE["study"] | {"sizes": ["1x16", "2by32"]}}, "study.sizes"),
        ({"study": RECIPE["study"] | {"sizes": ["1x16"]}}, "1 different sizes; a law of the size needs 3"),
        ({"study": RECIPE["study"] | {"learning_rate": "fast"}}, "study.learning_rate"),
    ],
)
def test_what_is_wrong_with_a_study_is_said_before_anything_runs(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(RECIPE | change))
    with pytest.raises(InputError) as told:
        graph(recipes.load(path), tmp_path / "work")
    assert sentence in str(told.value)
    assert "\n" not in str(told.value)


def test_the_plan_is_shown_with_its_cost(tmp_path: Path, tiny_dataset: Path) -> None:
    path = written(tmp_path, tiny_dataset)
    command = ["scale", str(path), "--work", str(tmp_path / "work"), "--plan-only", "--json"]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "10 trainings" in shown.stdout
    assert "predicted first" in shown.stdout
    told = json.loads(shown.stdout.splitlines()[-1])
    assert told["flops"] == pytest.approx(sum(one["flops"] for one in told["runs"]))
    assert not list((tmp_path / "work").glob("*/metrics.jsonl")), "a plan trains nothing"


def test_scale_takes_a_recipe_or_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["a.yaml", "--table", "runs.csv"]):
        shown = CliRunner().invoke(app, ["scale", *arguments])
        assert shown.exit_code == 2
        assert "give a RECIPE with a section study, or --table CSV" in shown.output
    path = tmp_path / "plain.yaml"
    path.write_text("name: plain\n")
    shown = CliRunner().invoke(app, ["scale", str(path)])
    assert shown.exit_code == 2
    assert "no section study" in shown.output


def stage(name: str, kind: str = "cell", needs: str = "") -> Stage:
    from data_prep.contract.settings import Settings
    from data_prep.contract.stages import Source

    inputs = {"of": (Source(needs, needs, needs),)} if needs else {}
    return Stage(name, kind, "r", 0, Path("work"), {}, Settings(), inputs)


def test_trainings_that_read_nothing_of_one_another_are_a_group() -> None:
    stages = [stage("data", "prep"), stage("a"), stage("b"), stage("law", "scaling", "a"), stage("c")]
    stages += [stage("d", needs="c"), stage("e")]
    found = [[one.name for one in group] for group in groups(stages, lambda one: one.kind == "cell")]
    assert found == [["data"], ["a", "b"], ["law"], ["c"], ["d", "e"]]


def test_places_share_out_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,5,7,9")
    found = places(ParallelConfig(tensor=2))
    assert [one.devices for one in found] == [("0", "2"), ("5", "7")]
    assert len(places(ParallelConfig(), most=3)) == 3
    _, environment = LocalLauncher([], ParallelConfig(), OptimizerConfig(), found[1]).command("0-a", [])
    assert environment["CUDA_VISIBLE_DEVICES"] == "5,7"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert places(ParallelConfig(), most=4) == [Place((), 1, 2)] * 4
    command, environment = LocalLauncher(
        ["r.yaml"], ParallelConfig(), OptimizerConfig(), Place((), 1, 2)
    ).command("0-a", ["--stage", "x"])
    count = command[command.index("launch.processes") + 1]
    assert (count, environment["OMP_NUM_THREADS"]) == ("1", "2")


def test_the_longest_begins_first_and_a_failure_is_told_after_the_others_end(
    tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_prep.contract.receipt import Receipt
    from launch.runner import Runner

    runner = Runner(recipes.load(written(tmp_path, tiny_dataset)), tmp_path / "work", [], lambda line: None)
    begun: list[str] = []

    def training(self: Runner, one: Stage, **_: Any) -> Receipt:
        begun.append(one.name)
        if one.name == "1x32-1p2e4":
            raise TrainingFailedError(one.name, 1)
        return Receipt.model_construct()

    monkeypatch.setattr(Runner, "training", training)
    with pytest.raises(TrainingFailedError, match="1x32-1p2e4 ended with status 1"):
        SideBySide(runner, [None]).run(runner.graph.with_needs(["forecast"]))
    assert begun == ["2x32-1p2e4", "1x32-1p2e4"], "most FLOPs first, and nothing new behind a failure"
    assert was_stopped(TrainingFailedError("x", RESUME))


def test_time_over_places() -> None:
    assert together([4.0, 3.0, 3.0], 2) == 6.0
    assert together([], 2) == 0.0


def start(path: Path, work: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.Popen(
        [*BLOOMERY, "scale", str(path), "--work", str(work)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(path: Path, work: Path) -> str:
    process = start(path, work)
    printed = process.communicate(timeout=1500)[0]
    assert process.returncode == 0, printed
    return printed


def killed_after(path: Path, work: Path, condition: Callable[[], bool]) -> None:
    """Start the study, and take the driver away without a word once a condition holds."""
    process = start(path, work)
    deadline = time.monotonic() + 1500
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)  # the driver alone: what it has started must not go on without it
    process.communicate()


def logged(work: Path) -> int:
    """Steps of all trainings that have been logged so far."""
    return sum(path.read_text().count("\n") for path in work.glob("*/metrics.jsonl"))


@pytest.mark.by_hand
def test_a_study_killed_at_random_moments_ends_with_the_same_table(
    tmp_path: Path, tiny_dataset: Path
) -> None:
    path = written(tmp_path, tiny_dataset)
    ended(path, tmp_path / "whole")
    work, choose = tmp_path / "killed", random.Random(7)
    for _ in range(5):
        wanted = logged(work) + choose.randint(20, 140)
        killed_after(path, work, lambda wanted=wanted: logged(work) >= wanted)  # type: ignore[misc]
    printed = ended(path, work)
    assert "is up to date" in printed, "what had ended was not done again"
    for name in ("law/runs.csv", "law/curves.csv"):
        assert (work / name).read_text() == (tmp_path / "whole" / name).read_text(), name
    first, second = (
        json.loads((one / "law" / "scaling.json").read_text()) for one in (tmp_path / "whole", work)
    )
    assert [one["loss"] for one in first["compared"]] == [one["loss"] for one in second["compared"]]
    assert all(one["before"] for one in second["compared"]), "the forecast stood there first"
