"""The kind of stage that makes tasks of problems that no text of the corpus `letters` has.

problems: {kind: problems, letters: {two: [2], three to five: [3, 4, 5], eight: [8]}}
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, PositiveInt, field_validator

from data_prep.contract import letters as rules
from data_prep.contract.receipt import Receipt, write_atomic
from data_prep.contract.report import Code, Section, StageReport, Text
from data_prep.contract.settings import Settings
from data_prep.contract.stages import Kind, Notify, Stage

SUITE = "suite"
"""What a stage gives that makes tasks: a folder of task files with their rows."""
EXAMPLES = "examples.jsonl"


class ProblemsConfig(Settings):
    letters: dict[str, list[int]] = Field(
        default_factory=lambda: {"short": [3, 4, 5], "long": [8]}, min_length=1
    )
    """Tasks by name: how many letters their problems have, in turn."""
    count: PositiveInt = 200
    """Problems of each task."""
    example_letters: list[int] = Field(default_factory=lambda: [4, 5], min_length=1)
    """Letters of the examples, in turn."""
    examples: PositiveInt = 32
    """Problems that examples are drawn from."""

    @field_validator("letters")
    @classmethod
    def _can_be(cls, letters: dict[str, list[int]]) -> dict[str, list[int]]:
        for name, lengths in letters.items():
            if not re.fullmatch(r"\w[\w -]*", name):
                raise ValueError(f"{name!r} is no name of a task; letters, digits and spaces are expected")
            _check_lengths(lengths)
        return letters

    @field_validator("example_letters")
    @classmethod
    def _examples_can_be(cls, lengths: list[int]) -> list[int]:
        _check_lengths(lengths)
        return lengths


def _check_lengths(lengths: list[int]) -> None:
    most = len(rules.LETTERS)
    if not lengths or not all(2 <= one <= most for one in lengths):
        raise ValueError(f"problems of {lengths} letters; each from 2 to {most} is expected")


class Problems(Kind):
    """`problems`: task files of held-out problems, with ways to the answers and easier questions."""

    name, gives, settings = "problems", SUITE, ProblemsConfig

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Write the tasks and their rows."""
        settings = stage.settings
        assert isinstance(settings, ProblemsConfig)
        shown = [row(stage.seed, settings.example_letters, number) for number in range(settings.examples)]
        write_atomic(stage.folder / EXAMPLES, lines(shown))
        for place, (name, lengths) in enumerate(settings.letters.items(), 1):
            rows = [row(stage.seed, lengths, settings.examples + number) for number in range(settings.count)]
            file = (
                f"{place:02}_{name.replace(' ', '_')}"  # tasks of a folder come by the names of their files
            )
            write_atomic(stage.folder / f"{file}.jsonl", lines(rows))
            write_atomic(stage.folder / f"{file}.yaml", yaml.safe_dump(task(name, f"{file}.jsonl")))
        notify(f"{stage.name}: {settings.count} problems of each of {', '.join(settings.letters)}")
        return {"tasks": dict.fromkeys(settings.letters, settings.count), "examples": settings.examples}

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """Some problems of each task."""
        shown = [
            Code(path.read_text().partition("\n")[0], path.stem.replace("_", " "))
            for path in sorted(folder.glob("*.jsonl"))
        ]
        return StageReport(
            sections=[Section(f"Problems: {folder.name}", [Text("One of each task."), *shown])]
        )


def row(seed: int, lengths: list[int], number: int) -> dict[str, str]:
    """Held-out problem `number`, of as many letters as its turn says."""
    found = rules.problem(seed, lengths[number % len(lengths)], number)
    return {
        "question": rules.question(found),
        "answer": rules.answer(found),
        "rationale": rules.chain(found),
        "easier": "\n".join(rules.easier(found)),
    }


def task(name: str, rows: str) -> dict[str, Any]:
    """A task file over rows."""
    return {
        "task": name,
        "about": "The last digit of the sum of letters' places in the alphabet.",
        "rows": rows,
        "question": "question",
        "answer": "answer",
        "rationale": "rationale",
        "decomposition": "easier",
        "score": "exact_match",
        "few_shot": {"rows": EXAMPLES, "shots": [0]},
    }


def lines(rows: list[dict[str, str]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(one) + "\n" for one in rows)
