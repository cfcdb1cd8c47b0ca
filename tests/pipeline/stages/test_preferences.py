"""Kinds that learn what is preferred, as stages of a recipe: what they leave, and that they have learned."""

from pathlib import Path
from typing import Any

import pytest

from data_prep.contract.receipt import read_receipt
from data_prep.contract.report import Lines, StageReport, Table
from data_prep.contract.settings import InputError
from pipeline.stages.registry import kinds
from pipeline.tracking import metrics
from tests.distributed.processes import run_world
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
RECIPE: dict[str, Any] = {
    "model": {"layers": 1, "hidden_size": 32, "heads": 2},
    "data": {"sequence_length": 48},
    "train": SHORT | {"steps": 4},
    "stages": {
        "base": {"kind": "pretrain", "data": "dataset"},
        "liked": {"kind": "reward", "from": "base", "data": ["pairs.jsonl"], "steps": 40, **SHORT},
        "direct": {"kind": "dpo", "from": "base", "data": ["pairs.jsonl"], "steps": 40, **SHORT},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("preferences")
    tiny.dataset(found / "dataset", {"train": tiny.sentences(40), "validation": tiny.sentences(8, 1)})
    made.write(found / "pairs.jsonl", made.pairs(200))
    run_world(1, train, found, RECIPE, list(RECIPE["stages"]))
    return found


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
