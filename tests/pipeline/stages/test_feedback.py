"""Feedback of a critic and votes of people, through whole stages: what they leave, and what they refuse."""

from pathlib import Path
from typing import Any

import pytest

from data_prep.contract.reading import read_json, read_jsonl
from data_prep.contract.receipt import read_receipt
from data_prep.contract.report import Table
from data_prep.contract.settings import InputError
from launch.serving.feedback import PREFERENCES, Feedback, Vote
from launch.serving.wire import ChatMessage
from pipeline.preferences.constitution.breaches import breach_called
from pipeline.stages.registry import kinds
from pipeline.tracking import metrics
from tests.distributed.processes import run_world
from tests.pipeline import tiny
from tests.pipeline.preferences import made
from tests.pipeline.stages.in_process import recipe_graph, train

SHORT: dict[str, Any] = {
    "steps": 4,
    "global_batch": 8,
    "micro_batch": 8,
    "warmup_steps": 1,
    "validation_samples": 8,
    "checkpoint_every": 4,
}
ASKING: dict[str, Any] = {"data": "dataset", "max_tokens": 8}
LEARNING = SHORT | {"steps": 40, "warmup_steps": 2, "learning_rate": 5e-3, "checkpoint_every": 40}
VOTED = 60
VOTES = f"votes/{PREFERENCES}"
RECIPE: dict[str, Any] = {
    "model": {"layers": 1, "hidden_size": 32, "heads": 2},
    "data": {"sequence_length": 96},
    "constitution": {
        "principles": [
            {"name": "command", "text": "list", "breach": "third_person"},
            {"name": "kind", "text": "a sum"},
        ],
        "critique": "{answer} {principle}",
        "revision": "{principle}",
        "comparison": "{principle} {first} {second}",
        "choices": ["a", "the"],
        "broken": "two",
        "kept": "sum",
    },
    "train": SHORT,
    "tune": SHORT,
    "stages": {
        "base": {"kind": "pretrain", "data": "dataset"},
        "lessons": {"kind": "lessons", "data": "dataset"},
        "critic": {"kind": "instruct", "from": "base", "data": ["lessons", "dataset"]},
        "revised": {
            "kind": "revise",
            "from": "base",
            "critic": "critic",
            "rounds": 2,
            "prompts": 24,
            "held_out": 4,
        }
        | ASKING,
        "pairs": {"kind": "feedback", "from": "base", "critic": "critic", "prompts": 12, "held_out": 4}
        | ASKING,
        "alone": {"kind": "feedback", "from": "base", "by": "critique", "prompts": 6, "held_out": 2} | ASKING,
        "liked": {"kind": "reward", "from": "base", "data": "pairs"} | SHORT,
        "voted": {"kind": "reward", "from": "base", "data": [VOTES]} | LEARNING,
        "direct": {"kind": "dpo", "from": "base", "data": [VOTES]} | LEARNING,
        "audit": {"kind": "audit", "of": ["base", "critic"], "prompts": 6, "answers": 2} | ASKING,
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("constitution")
    texts = {"train": tiny.sentences(80), "validation": tiny.sentences(12, 1)}
    tiny.dataset(found / "dataset", texts, instructions=True)
    vote(Feedback(found / "votes"))
    run_world(1, train, found, RECIPE, list(RECIPE["stages"]))
    return found / "work"


def vote(feedback: Feedback) -> None:
    """People prefer one answer to each of some prompts, and one of them thinks better of it."""
    for number, row in enumerate(made.pairs(VOTED + 1)):
        asked = [ChatMessage(role="user", content=f"{row['prompt']} {number}")]
        told: dict[str, Any] = {"model": "base", "messages": asked}
        feedback.add(Vote(answer=row["chosen"], vote="up", **told))
        kept = feedback.add(Vote(answer=row["rejected"], vote="down", **told))
    assert kept == VOTED + 1
    assert feedback.add(Vote(answer=row["rejected"], vote="none", **told)) == VOTED


def counts(folder: Path, name: str) -> dict[str, Any]:
    receipt = read_receipt(folder / name)
    assert receipt is not None
    return receipt.counts


def test_lessons_are_conversations_that_a_critic_is_tuned_on(folder: Path) -> None:
    """Those of the dataset beside them: several sources make one training."""
    lessons = counts(folder, "lessons")["train"]
    assert lessons > 4
    data = counts(folder, "critic")["data"][0]
    assert data["conversations"] == lessons + 80 + counts(folder, "lessons")["validation"] + 12
    receipt = read_receipt(folder / "critic")
    assert receipt is not None
    assert {"data[0]", "data[0] validation", "data[1]", "dataset"} <= receipt.inputs.keys()


def test_revisions_stand_behind_their_prompts(folder: Path) -> None:
    rows = [row for _, row in read_jsonl(folder / "revised" / "train.jsonl")]
    assert len(rows) + counts(folder, "revised")["not_ended_train"] == 24
    for row in rows:
        assert [one["role"] for one in row["messages"]] == ["user", "assistant"]
        assert row["messages"][-1]["content"]
        assert row["principle"] in ("command", "kind")
    broken = counts(folder, "revised")["broken"]
    own = [row for row in rows if row["principle"] == "command"]
    assert broken.keys() <= {"command"}
    if own:
        found = [breach_called("third_person", "x").broken(row["answer"]) for row in own]
        assert broken["command"][0] == pytest.approx(sum(found) / len(found))


def test_feedback_is_the_mean_of_both_orders(folder: Path) -> None:
    """And what it leaves is what a reward model learns from, shares and all."""
    rows = [row for _, row in read_jsonl(folder / "pairs" / "train.jsonl")]
    assert rows
    for row in rows:
        assert row["share"] == pytest.approx(sum(row["orders"]) / 2)
        assert 0 < row["share"] < 1
        assert row["chosen"] != row["rejected"]
    assert 0 <= counts(folder, "pairs")["consistency"]["same"] <= 1
    assert counts(folder, "liked")["data"][0]["train"] == len(rows)


def test_an_audit_compares_runs_on_the_same_prompts(folder: Path) -> None:
    found = read_json(folder / "audit" / "audit.json")
    assert list(found["runs"]) == ["base", "critic"]
    assert found["runs"]["base"]["fall"]["any of them"][0] == 0
    before, after = (found["runs"][name]["broken"]["command"][0] for name in ("base", "critic"))
    assert found["runs"]["critic"]["fall"]["command"][0] == pytest.approx(before - after)


@pytest.mark.parametrize("name", ["lessons", "revised", "pairs", "alone", "audit"])
def test_each_has_its_part_of_the_report(folder: Path, name: str) -> None:
    receipt = read_receipt(folder / name)
    assert receipt is not None
    told = kinds()[receipt.kind].report(folder / name, receipt)
    tables = [part for section in told.sections for part in section.parts if isinstance(part, Table)]
    assert all(len(row) == len(table.head) for table in tables for row in table.rows)
    assert tables


def tried(folder: Path, override: str, name: str) -> None:
    """What a command does before and while it computes a stage."""
    graph = recipe_graph(folder.parent, RECIPE, override)
    stage = graph.stages[name]
    graph.kind(stage).check(stage)
    graph.kind(stage).compute(stage, print)


@pytest.mark.parametrize(
    ("override", "name", "said"),
    [
        ("constitution.principles=[]", "pairs", r"pairs: constitution\.principles is empty"),
        ("constitution.principles=[{name: a, text: b}]", "audit", "no principle of the constitution has"),
        (
            "constitution.principles=[{name: a, text: b, breach: c}]",
            "lessons",
            r"constitution\.principles\.a\.breach: no breach is called c",
        ),
        ("stages.revised.max_tokens=96", "revised", "max_tokens 96 leaves no room for a prompt"),
        (
            f"constitution.critique='{'{prompt} ' * 9}'",
            "revised",
            r"constitution: a question to the critic has \d+ tokens, and 88 have room beside max_tokens 8",
        ),
        (
            f"constitution.comparison='{'{prompt} ' * 9}'",
            "pairs",
            r"constitution\.comparison: a question has \d+ tokens, and the critic reads 96",
        ),
        ("stages.lessons.data=base", "lessons", "the stage base gives a run"),
    ],
)
def test_what_cannot_be_is_one_sentence(folder: Path, override: str, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        tried(folder, override, name)


def test_conversations_of_a_stage_that_has_not_ended_are_asked_for(folder: Path, tmp_path: Path) -> None:
    graph = recipe_graph(folder.parent, RECIPE, work=str(tmp_path / "other"))
    with pytest.raises(InputError, match=r"other/lessons: the stage lessons has not ended; run it first"):
        graph.kind(graph.stages["critic"]).fingerprint(graph.stages["critic"])


@pytest.mark.parametrize("name", ["voted", "direct"])
def test_votes_are_learned(folder: Path, name: str) -> None:
    """The file that a server keeps is what both kinds read: no row is lost, and held-out votes are met."""
    data = counts(folder, name)["data"][0]
    assert data["rows"] == data["train"] + data["validation"] == VOTED
    lines = metrics.read(folder / name / "metrics.jsonl")
    assert lines[-1]["loss"] < 0.3 < lines[0]["loss"]
    assert lines[-1]["validation_accuracy"] > 0.8
