"""A collection's file: YAML with datasets, each with its rows, its clusters and several templates.

    datasets:
      colours:
        rows: colours.jsonl              # as a task's: JSON lines, a JSON array or Parquet, beside this file
        clusters: [first]
        choices: [red, blue]             # left out where an answer is a text of its own
        answer: gold                     # the number of the right choice, or its text
        templates: ["Which colour is first: {{ words }}?", "{{ words }}. Name the first colour."]

Each template with the rows is a task as `pipeline.evaluation.tasks` has them, of which a question is an
instruction. One that lists what there is to choose from says so itself: `{{ choices | join(", ") }}`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from data_prep.contract.names import plain_name
from data_prep.contract.reading import read_yaml
from data_prep.contract.settings import InputError, Settings
from pipeline.evaluation.tasks import templates
from pipeline.evaluation.tasks.questions import Question, questions_of
from pipeline.evaluation.tasks.rows import read_rows
from pipeline.evaluation.tasks.settings import Task


class DatasetConfig(Settings):
    rows: str
    """File of its rows, beside the collection's."""
    clusters: list[str] = Field(min_length=1)
    """What kinds of task it is; it is unseen only where none of them was trained on."""
    choices: str | list[str] | None = None
    """What there is to choose from: a column or a template of a list, or templates."""
    answer: str | int
    """The right choice by number or text; else the text that is right."""
    templates: list[str] = Field(min_length=1)
    """Jinja over the columns of a row: the instruction in different words."""


class CollectionConfig(Settings):
    datasets: dict[str, DatasetConfig] = Field(min_length=1)
    """By name."""


@dataclass(frozen=True)
class Phrased:
    """A dataset in the words of one template."""

    task: Task
    questions: Sequence[Question]


@dataclass(frozen=True)
class Collected:
    """A dataset in the words of all its templates."""

    name: str
    config: DatasetConfig
    rows: Path
    phrased: Sequence[Phrased]

    @property
    def examples(self) -> list[list[tuple[str, str]]]:
        """Of each row its instructions, in the words of every template, with the answer."""
        by_row: dict[int, list[tuple[str, str]]] = {}
        for one in self.phrased:
            for question in one.questions:
                by_row.setdefault(question.number, []).append((question.context, question.references[0]))
        return list(by_row.values())


def read_collection(path: Path) -> list[Collected]:
    """The datasets of a file, in its order. `InputError` says what is wrong with one."""
    try:
        config = CollectionConfig.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}") from None
    return [_collected(path, name, one) for name, one in config.datasets.items()]


def _collected(path: Path, name: str, config: DatasetConfig) -> Collected:
    where = f"{path}: datasets.{name}"
    try:
        plain_name(name, "")
        for template in config.templates:
            templates.check(template)
    except (InputError, ValueError) as error:
        raise InputError(f"{where}: {error}") from None
    rows = path.parent / config.rows
    if not rows.is_file():
        raise InputError(f"{where}.rows: {rows}: no such file")
    found = read_rows(rows)
    tasks = [task_of(name, config, number) for number in range(len(config.templates))]
    return Collected(
        name, config, rows, [Phrased(one, questions_of(one, found, where).questions) for one in tasks]
    )


def task_of(name: str, config: DatasetConfig, number: int) -> Task:
    """A dataset in the words of one template, ranked by the sum of log-likelihoods (Sanh et al. 2022, 4)."""
    return Task(
        task=f"{name}-{number}",
        rows=config.rows,
        question=config.templates[number],
        choices=config.choices,
        answer=config.answer,
        score="choices" if config.choices is not None else "exact_match",
        instruct=True,
    )
