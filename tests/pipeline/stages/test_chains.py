"""Ways of reasoning from a recipe alone: problems, every way on them, figures, tests, votes and costs."""

from pathlib import Path
from typing import Any

import pytest

from data_prep.contract.letters import is_held_out
from data_prep.contract.report import Lines, Table
from data_prep.contract.settings import InputError
from pipeline.evaluation.tasks.records import read_records
from pipeline.evaluation.tasks.suites import read_suite
from pipeline.evaluation.tasks.ways import counts_to
from pipeline.reports.chains import chains_report
from pipeline.reports.page import render
from tests.pipeline.evaluation.runs import random_run
from tests.pipeline.stages.in_process import recipe_graph

SHORT: dict[str, Any] = {"kind": "letters", "chain_tokens": 6, "answer_tokens": 2}
WAYS: dict[str, dict[str, Any]] = {
    "direct": {"way": "direct", "shots": 2},
    "chain": {"way": "few_shot", "shots": 2, "against": ["direct"]},
    "vote": {"way": "few_shot", "shots": 2, "paths": 6, "against": ["chain"], "tasks": ["two"]},
    "steps": {"way": "zero_shot"},
    "auto": {"way": "auto", "clusters": 2},
    "least": {"way": "least_to_most", "shots": 1, "parts": 2, "against": ["chain", "direct"]},
}


def stages(run: Path, ways: dict[str, dict[str, Any]], **problems: Any) -> dict[str, Any]:
    """A recipe of the two kinds."""
    about = {"kind": "problems", "letters": {"two": [2], "some": [3, 5]}, "count": 4, "examples": 3}
    asked = {name: SHORT | way for name, way in ways.items()}
    found = {"kind": "chains", "of": str(run), "suite": "tasks", "ways": asked}
    return {"name": "reasoning", "stages": {"tasks": about | problems, "found": found}}


def test_every_way_from_a_recipe(tmp_path: Path) -> None:
    graph = recipe_graph(tmp_path, stages(random_run(tmp_path / "run", 160), WAYS))
    said: list[str] = []
    for name in ("tasks", "found"):
        stage = graph.stages[name]
        kind = graph.kind(stage)
        kind.check(stage)
        receipt = kind.run(stage, said.append)
        assert kind.is_done(stage)
        report = kind.report(stage.folder, receipt)
        assert all(render(part, {}) for part in report.sections[0].parts if not isinstance(part, Lines))
    assert receipt.counts == {"questions": {"two": 4, "some": 4}}
    suite = read_suite(tmp_path / "work" / "tasks")
    questions = [one.context for task in suite.tasks for one in task.questions]
    assert all(is_held_out(one.removeprefix("Add ").replace(", ", "").rstrip(".")) for one in questions)
    records = read_records(tmp_path / "work" / "found" / "records" / "found.parquet")
    assert len(records) == 4 * (len(WAYS) - 1) * 2 + 4
    for one in records:
        way = WAYS[one["task"].partition(": ")[2]]
        assert len(one["votes"]) == (6 if way.get("paths") else 0)
        assert one["scores"]["prompt_tokens"] > 0
        assert one["shown"] == way.get("shots", 0)
    assert sum(one["cut"] for one in records) > 0, "some prompts are longer than the model, and counted"
    tables = [part for part in report.sections[0].parts if isinstance(part, Table)]
    assert [len(one.rows) for one in tables[:2]] == [2 * len(WAYS) - 1, 2 * 3 + 1]
    (votes,) = [part for part in report.sections[0].parts if isinstance(part, Lines)]
    assert list(votes.lines[0].x) == [1, 2, 5, 6]
    assert {row[-1] for row in tables[1].rows} <= {"no difference shows"}


@pytest.mark.parametrize(
    ("way", "problems", "sentence"),
    [
        (
            {"way": "direct", "tasks": ["ten"]},
            {},
            "ways.mine: there is no ten; tasks are some, two",
        ),
        ({"way": "direct", "against": ["ours"]}, {}, "ways.mine: there is no ours"),
        ({"way": "direct", "shots": 9}, {}, "ways.mine.shots 9 is more than the 3 examples of"),
        ({"way": "by heart"}, {}, "stages.found.ways.mine.way"),
        ({"way": "direct"}, {"letters": {"../up": [2]}}, "'../up' is no name of a task"),
        ({"way": "direct"}, {"letters": {"one": [1]}}, "each from 2 to 26 is expected"),
    ],
)
def test_ways_that_cannot_be(
    tmp_path: Path, way: dict[str, Any], problems: dict[str, Any], sentence: str
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(InputError, match=sentence):
        checked(tmp_path, stages(run, {"mine": way}, **problems))


def checked(folder: Path, plain: dict[str, Any]) -> None:
    """The problems made, and the ways checked."""
    graph = recipe_graph(folder, plain)
    tasks, found = (graph.stages[name] for name in ("tasks", "found"))
    graph.kind(tasks).run(tasks, print)
    graph.kind(found).check(found)


def test_what_a_report_says_of_a_difference() -> None:
    """Of the tasks the one on which two ways differ most is told first; p says whether it shows."""
    ways = {
        name: {"share": share, "low": 0.1, "high": 0.9, "n": 50} for name, share in (("a", 0.2), ("b", 0.9))
    }
    costs = {"prompt_tokens": 3.0, "generated_tokens": 4.0, "cut": 0, "examples": []}
    found = {task: {name: one | costs for name, one in ways.items()} for task in ("easy", "hard")}
    test = {"way": "b", "against": "a"}
    tests = [
        test | {"task": "easy", "only_first": 5, "only_second": 4, "p": 1.0},
        test | {"task": "hard", "only_first": 36, "only_second": 1, "p": 1e-9},
    ]
    report = chains_report(Path("found"), {"run": "model", "tasks": found, "tests": tests})
    (headline,) = report.headlines
    assert (headline.label, headline.value, headline.note) == ("b right", "90%", "hard; a 20%, p 1e-09")
    table = [part for part in report.sections[0].parts if isinstance(part, Table)][1]
    assert [row[-1] for row in table.rows] == ["no difference shows", "b beats a"]
    assert report.figures == {
        "model": {"found_easy_a": 0.2, "found_easy_b": 0.9, "found_hard_a": 0.2, "found_hard_b": 0.9}
    }
    assert counts_to(40) == [1, 2, 5, 10, 20, 40]
    assert counts_to(1) == [1]
