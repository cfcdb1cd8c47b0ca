"""Kinds that learn what is preferred, as stages of a recipe: what they leave, and that they have learned."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from data_prep.contract.reading import read_json, read_jsonl
from data_prep.contract.receipt import read_receipt
from data_prep.contract.report import Lines, StageReport, Table, Text
from data_prep.contract.settings import InputError
from pipeline.generation.load import load_model
from pipeline.preferences.rules import style
from pipeline.stages.registry import kinds
from pipeline.tracking import metrics
from tests.distributed.processes import run_world, start_world
from tests.pipeline import tiny
from tests.pipeline.preferences import made
from tests.pipeline.stages.in_process import recipe_graph, train

SHORT: dict[str, Any] = {
    "global_batch": 8,
    "micro_batch": 4,
    "warmup_steps": 2,
    "learning_rate": 3e-3,
    "validation_samples": 32,
    "checkpoint_every": 100,
}
ANSWERING: dict[str, Any] = SHORT | {
    "steps": 6,
    "rollout_batch": 16,
    "max_tokens": 12,
    "validate_every": 3,
    "validation_samples": 6,
    "checkpoint_every": 3,
    "keep_checkpoints": 5,
}
RECIPE: dict[str, Any] = {
    "model": {"layers": 2, "hidden_size": 32, "heads": 2},
    "data": {"sequence_length": 48},
    "train": SHORT | {"steps": 4},
    "stages": {
        "base": {"kind": "pretrain", "data": "dataset"},
        "liked": {"kind": "reward", "from": "base", "data": ["pairs.jsonl"], "steps": 40, **SHORT},
        "direct": {"kind": "dpo", "from": "base", "data": ["pairs.jsonl"], "steps": 40, **SHORT},
        "grouped": {
            "kind": "grpo",
            "from": "base",
            "data": ["pairs.jsonl"],
            "rules": {"docstring_style": 1.0},
            "group": 4,
            "epochs": 2,
            **ANSWERING,
        },
        "actor": {
            "kind": "ppo",
            "from": "base",
            "data": ["pairs.jsonl"],
            "reward": "liked",
            "rules": {"docstring_style": 0.1},
            "missing_end": -1.0,
            "target_kl": 0.5,
            "pretraining": "dataset",
            "ptx": 0.2,
            "epochs": 2,
            **ANSWERING,
        },
        "compared": {
            "kind": "compare",
            "from": "base",
            "data": ["pairs.jsonl"],
            "rules": {"docstring_style": 1.0},
            "prompts": 6,
            "held_out": 4,
            "max_tokens": 8,
        },
        "frontier": {
            "kind": "frontier",
            "of": ["grouped", "actor"],
            "from": "base",
            "reward": "liked",
            "data": "compared",
            "gold": {"docstring_style": 1.0},
            "prompts": 4,
            "best_of": 4,
            "max_tokens": 8,
        },
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("preferences")
    tiny.dataset(found / "dataset", {"train": tiny.sentences(40), "validation": tiny.sentences(8, 1)})
    made.write(found / "pairs.jsonl", made.pairs(200))
    run_world(1, train, found, RECIPE, list(RECIPE["stages"]))
    return found


APART = {
    "time",
    "tokens_per_second",
    "model_flops_per_second",
    "data_wait_share",
    "peak_host_megabytes",
    "checkpoint_stall_seconds",
    "checkpoint_write_seconds",
    "mfu",
    "sampler_deviation",
    "ratio_deviation",
}
"""Metrics that are measured, or of rounding."""


def told(folder: Path, name: str) -> StageReport:
    receipt = read_receipt(folder / "work" / name)
    assert receipt is not None
    return kinds()[receipt.kind].report(folder / "work" / name, receipt)


def test_a_reward_model_learns_which_answer_is_better(folder: Path) -> None:
    """All of the held-out pairs, whose answers are as long; the figures stand in the receipt."""
    receipt = read_receipt(folder / "work" / "liked")
    assert receipt is not None
    found = receipt.counts["reward"]
    assert found["prompts"] == 20
    assert found["accuracy"] > 0.9
    lines = metrics.read(folder / "work" / "liked" / "metrics.jsonl")
    assert lines[-1]["validation_accuracy"] == pytest.approx(found["accuracy"], abs=1e-6)
    assert receipt.counts["data"][0]["rows"] == 200
    assert "held-out comparisons" in str(told(folder, "liked").headlines[0])


def test_dpo_starts_at_its_reference_and_learns_the_difference(folder: Path) -> None:
    """Before the first step policy and reference are one, so the loss is log 2 and the divergence 0."""
    lines = metrics.read(folder / "work" / "direct" / "metrics.jsonl")
    assert lines[0]["loss"] == pytest.approx(0.6931472, abs=1e-5)
    assert lines[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert lines[-1]["validation_accuracy"] > 0.9
    assert lines[-1]["kl"] > 0


def test_a_reward_model_is_reported_beside_chance_and_length(folder: Path) -> None:
    [_, section] = told(folder, "liked").sections
    table, chart = section.parts
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["reward model", "the longer answer", "chance"]
    assert isinstance(chart, Lines)
    assert [line.label for line in chart.lines] == ["held-out comparisons", "calibrated"]


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"data": ["missing.jsonl"]}, "missing.jsonl: no such file"),
        ({"model": {"architecture": "encoder"}, "objective": {"kind": "masked_lm"}}, "decoder is"),
    ],
)
def test_what_does_not_go_together_is_said(folder: Path, stage: dict[str, Any], words: str) -> None:
    stages = {**RECIPE["stages"], "direct": {**RECIPE["stages"]["direct"], **stage}}
    found = recipe_graph(folder, RECIPE | {"stages": stages})
    with pytest.raises(InputError, match=words):
        found.kind(found.stages["direct"]).fingerprint(found.stages["direct"])


def test_a_reward_model_is_no_run_that_text_is_asked_of(folder: Path) -> None:
    stages = {**RECIPE["stages"], "report": {"kind": "evaluate", "of": ["liked"], "data": "dataset"}}
    with pytest.raises(InputError, match="the stage liked gives a reward; a run or several is expected"):
        recipe_graph(folder, RECIPE | {"stages": stages})


def test_a_reward_model_is_asked_for_no_text(folder: Path) -> None:
    with pytest.raises(InputError, match="a reward model, which scores answers and gives none"):
        load_model(folder / "work" / "liked")


def test_answers_of_a_run_are_compared_by_rules(folder: Path) -> None:
    """The first has the best score; the same prompts validate whatever reads them."""
    place = folder / "work" / "compared"
    parts = {
        name: [row for _, row in read_jsonl(place / f"{name}.jsonl")] for name in ("train", "validation")
    }
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 6, "validation": 4}
    for row in (*parts["train"], *parts["validation"]):
        best = min(range(4), key=row["ranks"].__getitem__)
        assert row["scores"][best] == max(row["scores"])
        assert row["scores"] == [style(answer) for answer in row["answers"]]
    assert "Comparisons" in str(told(folder, "compared").sections)


def test_a_frontier_has_every_kept_checkpoint_and_the_best_of_n(folder: Path) -> None:
    found = read_json(folder / "work" / "frontier" / "frontier.json")["series"]
    assert {name: list(points) for name, points in found.items()} == {
        "best of n": ["1", "2", "4"],
        "grouped": ["3", "6"],
        "actor": ["3", "6"],
    }
    golds = [point["gold"][0] for point in found["best of n"].values()]
    assert all(0 <= gold <= 4 for gold in golds)
    proxies = [point["proxy"] for point in found["best of n"].values()]
    assert proxies == sorted(proxies), "the reward model likes the best of more better"
    [section] = told(folder, "frontier").sections
    assert [type(part) for part in section.parts] == [Table, Text, Lines, Lines]


def lines_of(folder: Path, name: str, work: str = "work") -> list[dict[str, float]]:
    return metrics.read(folder / work / name / "metrics.jsonl")


@pytest.mark.parametrize("name", ["grouped", "actor"])
def test_a_policy_scores_its_answers_as_it_drew_them(folder: Path, name: str) -> None:
    """Log-probabilities inside generation are those of a whole pass, and first ratios are 1, to 1e-5."""
    lines = lines_of(folder, name)
    assert [line["rollout"] for line in lines] == [1, 1, 1, 1, 2, 2]
    for line in lines:
        assert line["sampler_deviation"] < 1e-5
        assert line["ratio_deviation"] < 1e-5
    for first in (lines[0], lines[4]):
        assert first["ratio"] == pytest.approx(1, abs=1e-5)
        assert first["clip_share"] == 0
    assert lines[0]["kl"] == pytest.approx(0, abs=1e-4), "the first rollout is the reference's own"
    assert 0 < lines[0]["answer_tokens"] <= 12
    assert {"validation_reward", "validation_kl", "validation_ended"} <= lines[2].keys()


def test_advantages_and_values_are_logged_of_an_actor_and_a_critic(folder: Path) -> None:
    lines = lines_of(folder, "actor")
    assert lines[0]["kl_coefficient"] == 0.05
    assert lines[4]["kl_coefficient"] < 0.05, "the divergence is below its target"
    assert lines[-1]["pretraining_loss"] > 0
    assert lines[0]["value_loss"] > 0
    assert {"reward_model", "reward_docstring_style", "explained_variance"} <= lines[0].keys()
    samples = read_jsonl(folder / "work" / "actor" / "rollouts.jsonl")
    assert [line["rollout"] for _, line in samples] == [1] * 4 + [2] * 4


@pytest.mark.parametrize("layout", [("tensor", 2), ("pipeline", 2), ("data", 2)])
def test_policies_follow_one_process_in_every_layout(folder: Path, layout: tuple[str, int]) -> None:
    """Every metric of six steps, to 1e-3 relative; the second rollout is drawn from what was learned."""
    key, size = layout
    work = f"{key}{size}"
    for name in ("base", "liked"):
        (folder / work).mkdir(exist_ok=True)
        shutil.copytree(folder / "work" / name, folder / work / name)
    overrides = [] if key == "data" else [f"parallel.{key}={size}"]
    run_world(size, train_in, folder, work, ["grouped", "actor"], overrides)
    for name in ("grouped", "actor"):
        one, other = lines_of(folder, name), lines_of(folder, name, work)
        assert len(one) == len(other)
        for line, expected in zip(other, one, strict=True):
            for metric in expected.keys() - APART:
                found = line[metric]
                assert found == pytest.approx(expected[metric], rel=1e-3, abs=1e-4), (name, metric)


def train_in(folder: Path, work: str, names: list[str], overrides: list[str]) -> None:
    train(folder, RECIPE, names, *overrides, work=work)


@pytest.mark.parametrize("name", ["grouped", "actor"])
def test_a_policy_goes_on_in_the_middle_of_a_rollout(folder: Path, name: str) -> None:
    """From the checkpoint of step 3 of 4 on the same answers: every metric to the last digit."""
    work = f"again-{name}"
    for other in ("base", "liked", name):
        shutil.copytree(folder / "work" / other, folder / work / other)
    run = folder / work / name
    shutil.rmtree(run / "checkpoints" / "step-000006")
    (run / "receipt.json").unlink()
    run_world(1, train_in, folder, work, [name], [])
    assert_same(lines_of(folder, name, work), lines_of(folder, name))
    before, after = (read_jsonl(folder / one / name / "rollouts.jsonl") for one in ("work", work))
    assert list(after) == list(before)


@pytest.mark.slow
def test_sigkill_in_the_middle_of_ppo_changes_nothing(folder: Path) -> None:
    """Killed twice as soon as a checkpoint is there, in a rollout or between two."""
    overrides = ["stages.actor.steps=20", "stages.actor.checkpoint_every=1", "stages.actor.validate_every=20"]
    for work in ("whole", "killed"):
        for other in ("base", "liked"):
            shutil.copytree(folder / "work" / other, folder / work / other)
    run_world(1, train_in, folder, "whole", ["actor"], overrides)
    for step in (3, 10):
        [process] = start_world(1, train_in, folder, "killed", ["actor"], overrides)
        place = folder / "killed" / "actor" / "checkpoints"
        while not any(int(path.name[5:]) >= step for path in place.glob("step-*")):
            assert process.is_alive()
            time.sleep(0.01)
        process.kill()
        process.join()
    run_world(1, train_in, folder, "killed", ["actor"], overrides)
    assert_same(lines_of(folder, "actor", "killed"), lines_of(folder, "actor", "whole"))


def assert_same(found: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    for line, other in zip(found, expected, strict=True):
        names = (line.keys() | other.keys()) - APART
        assert {name: line.get(name) for name in names} == {name: other.get(name) for name in names}
