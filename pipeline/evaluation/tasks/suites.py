"""Suites: a folder of task files, or one of them; every task with its questions and its examples.

A file is ours (`settings.Task`), or one of lm-evaluation-harness that needs no code (`harness_files`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from data_prep.contract.names import printable
from data_prep.contract.reading import read_bytes, read_yaml
from data_prep.contract.receipt import file_hash, fingerprint
from data_prep.contract.settings import InputError
from pipeline.evaluation.tasks import harness_files, templates
from pipeline.evaluation.tasks.patterns import compiled
from pipeline.evaluation.tasks.prompts import Sitting, sittings
from pipeline.evaluation.tasks.questions import Question, questions_of
from pipeline.evaluation.tasks.rows import read_rows
from pipeline.evaluation.tasks.settings import Task

ENDINGS = (".yaml", ".yml")
LIMIT = 1 << 20
"""Bytes of a task file."""


@dataclass(frozen=True)
class LoadedTask:
    """A task with what it asks."""

    task: Task
    questions: Sequence[Question]
    broken: Mapping[str, int]
    """How many rows are no questions, by the reason."""
    pool: Sequence[Question]
    """What examples are drawn from."""
    own: bool
    """Whether those are the questions themselves."""
    identity: str
    """Stands for the task and its rows."""

    def sittings(self, seed: int) -> list[Sitting]:
        """Every number of examples and every draw of them."""
        return sittings(self.task, self.questions, self.pool, self.own, seed)

    @property
    def chance(self) -> float | None:
        """What guessing gets right on average; None where there is nothing to choose from."""
        if self.task.score != "choices":
            return None
        return sum(one.chance for one in self.questions) / len(self.questions)


@dataclass(frozen=True)
class Suite:
    """Named tasks."""

    name: str
    tasks: Sequence[LoadedTask]

    @property
    def identity(self) -> str:
        """Stands for all tasks and their rows."""
        return fingerprint([one.identity for one in self.tasks])


def read_suite(place: Path) -> Suite:
    """The tasks of a folder, or of one file. `InputError` says what is wrong with one."""
    tasks = [load(one) for one in task_files(place)]
    names = [one.task.task for one in tasks]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{place}: two of its tasks are called {printable(name)}")
    return Suite(place.stem if place.is_file() else place.resolve().name, tasks)


def task_files(place: Path) -> list[Path]:
    """The task files of a folder by their names, or the one file."""
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise InputError(f"{place}: no such file or folder; task files (.yaml) are expected here")
    found = sorted(one for one in place.iterdir() if one.suffix in ENDINGS and one.is_file())
    if not found:
        raise InputError(f"{place}: no task files (.yaml) in this folder")
    return found


def identity_of(place: Path) -> list[str]:
    """What stands for each task of a suite, without asking what its rows are."""
    return [_identity(*read_task(path)) for path in task_files(place)]


def _identity(task: Task, rows: Path, examples: Path | None) -> str:
    for one in (rows, examples):
        if one is not None and not one.is_file():
            raise InputError(
                f"{one}: no such file; the rows of the task {printable(task.task)} are expected here"
            )
    return fingerprint(task.identity(), [file_hash(one) for one in (rows, examples) if one is not None])


def load(path: Path) -> LoadedTask:
    """A task file with its rows."""
    task, rows, examples = read_task(path)
    identity = _identity(task, rows, examples)
    asked = questions_of(task, read_rows(rows), f"{path}: {rows.name}")
    pool, own = asked.questions, True
    most = max(task.few_shot.shots)
    if examples is not None and examples != rows:
        pool, own = questions_of(task, read_rows(examples), f"{path}: {examples.name}").questions, False
    if most > len(pool) - own:
        raise InputError(
            f"{path}: few_shot.shots {most} is more than the {len(pool) - own} examples that there are"
        )
    return LoadedTask(task, asked.questions, asked.broken, pool, own, identity)


def read_task(path: Path) -> tuple[Task, Path, Path | None]:
    """The task of a file, where its rows are, and where its examples are if that is elsewhere."""
    plain = read_yaml(harness_files.without_code(path, read_bytes(path, limit=LIMIT)), str(path))
    if not isinstance(plain, dict):
        raise InputError(f"{path}: a mapping of a task's keys is expected")
    folder = path.parent
    if harness_files.is_foreign(plain):
        plain = harness_files.translated(plain, path)
    task = _checked(plain, path)
    examples = folder / task.few_shot.rows if task.few_shot.rows else None
    return task, folder / task.rows, examples


def _checked(plain: dict[str, Any], path: Path) -> Task:
    try:
        task = Task.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the task"
        raise InputError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}") from None
    try:
        for one in _templates(task):
            templates.check(one)
        for pattern in (task.extract.pattern, *task.extract.remove):
            compiled(pattern)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return task


def _templates(task: Task) -> list[str]:
    found: list[str] = [task.question, task.neutral, task.continuation, task.rationale, task.decomposition]
    for one in (task.contexts, task.choices, task.answer):
        found += one if isinstance(one, list) else [one] if isinstance(one, str) else []
    return found
