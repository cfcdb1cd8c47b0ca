"""`bloomery inspect` on the records of an evaluation."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from launch.cli import app
from pipeline.evaluation.tasks.records import schema, write_records


def record(run: str, number: int, right: bool) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(schema().names)
    return empty | {
        "run": run,
        "task": "spelling",
        "shots": 0,
        "draw": 0,
        "number": number,
        "prompt": f"question {number}\x1b[2J",
        "answer": "a",
        "text": "",
        "references": ["a" if right else "b"],
        "right": [0],
        "score": float(right),
        "scores": {"right_by_sum": float(right)},
    }


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "exam.parquet"
    rows = [record("one", n, n < 3) for n in range(10)] + [record("two", n, n < 9) for n in range(10)]
    write_records(path, rows)
    return path


def run(*arguments: str, status: int = 0) -> str:
    found = CliRunner().invoke(app, ["inspect", *arguments])
    assert found.exit_code == status, found.output
    return found.output


def test_questions_are_filtered(records: Path) -> None:
    last = run(str(records), "--where", "run=one", "--where", "right=true", "--json").splitlines()[-1]
    result = json.loads(last)
    assert [one["number"] for one in result["records"]] == [0, 1, 2]
    assert result["records"][0]["scores"] == {"right_by_sum": 1.0}
    told = run(str(records), "--where", "number=4")
    assert "2 questions" in told
    assert "\x1b" not in told


def test_two_runs_are_compared(records: Path) -> None:
    told = run(str(records), "--compare", "one", "--compare", "two")
    assert "spelling, 0-shot: one alone right 0 times, two 6; p = 0.0312" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--where", "colour=red"], "no column colour"),
        (["--where", "colour"], "KEY=VALUE is expected"),
        (["--compare", "one"], "two runs are expected, of one, two"),
    ],
)
def test_what_is_not_there_is_one_sentence(records: Path, arguments: list[str], message: str) -> None:
    assert message in run(str(records), *arguments, status=2)
