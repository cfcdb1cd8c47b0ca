"""Rows to questions: what is asked, what there is to choose from, what is right; broken rows are counted."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from data_prep.contract.cleaning import clean
from data_prep.contract.settings import InputError
from pipeline.evaluation.tasks.settings import Task
from pipeline.evaluation.tasks.templates import MissingColumnError, Row, listed, value


@dataclass(frozen=True)
class Question:
    """One question of a task."""

    number: int
    """Of its row, from 0."""
    contexts: tuple[str, ...]
    """What stands before the answer; several where the choices are contexts."""
    choices: tuple[str, ...]
    """What there is to choose from; empty where a model answers in its own words."""
    right: tuple[int, ...]
    """The right choices."""
    references: tuple[str, ...]
    """Texts that count as right; the first one is shown where the question is an example."""
    neutral: str = ""
    """What stands before a choice whose likelihood is taken without the question."""
    rationale: str = ""
    """How one gets to the answer, where this is an example of a chain of thought."""
    decomposition: str = ""
    """The easier questions to answer before, one a line, where this is an example of taking one apart."""

    @property
    def context(self) -> str:
        """What stands before the right answer."""
        return self.contexts[self.right[0] if len(self.contexts) > 1 else 0]

    @property
    def chance(self) -> float:
        """How often a guess is right; 0 without choices."""
        return len(self.right) / self.options if self.options else 0.0

    @property
    def options(self) -> int:
        """How many there are to choose from."""
        return max(len(self.choices), len(self.contexts)) if self.right else 0


class BrokenRowError(ValueError):
    """A row that cannot be asked; the message is the reason that it is counted under."""


@dataclass(frozen=True)
class Asked:
    """The questions of a task, and how many rows are none by the reason."""

    questions: list[Question]
    broken: dict[str, int]


def questions_of(task: Task, rows: Sequence[Row], place: str) -> Asked:
    """The questions of a task, without broken rows and without those that were there before.

    Raises `InputError` where none is left, or a template of the task is wrong.
    """
    columns = {name for row in rows for name in row}
    found: list[Question] = []
    broken: Counter[str] = Counter()
    seen: set[tuple[tuple[str, ...], ...]] = set()
    for number, row in enumerate(rows):
        try:
            _check_columns(task, row, columns)
            one = question(task, row, number)
        except InputError as error:
            raise InputError(f"{place}: row {number + 1}: {error}") from None
        except BrokenRowError as error:
            broken[str(error)] += 1
            continue
        mark = (one.contexts, one.choices, one.references)
        if mark in seen:
            broken["asked before"] += 1
        else:
            seen.add(mark)
            found.append(one)
        if task.limit and len(found) >= task.limit:
            break
    if not found:
        (reason, count), *_ = broken.most_common()
        raise InputError(f"{place}: no row of {len(rows)} can be asked; {count} of them: {reason}")
    return Asked(found, dict(broken))


def _check_columns(task: Task, row: Row, columns: Collection[str]) -> None:
    """A template that names a column of other rows is no text of its own."""
    named = (task.question, task.choices, task.answer, task.contexts, task.continuation, task.neutral)
    for one in named:
        if isinstance(one, str) and one in columns and one not in row:
            raise BrokenRowError(f"missing column ({one})")


def question(task: Task, row: Row, number: int) -> Question:
    """The question of a row. `BrokenRowError` says why there is none."""
    try:
        contexts = _texts(task.contexts, row) or (_text(render_or_column(task.question, row)),)
        choices = _texts(task.choices, row)
        answer = value(task.answer, row)
        neutral = _text(render_or_column(task.neutral, row)) if task.neutral else ""
        rationale = _text(render_or_column(task.rationale, row)) if task.rationale else ""
        apart = _text(render_or_column(task.decomposition, row)) if task.decomposition else ""
    except MissingColumnError as error:
        raise BrokenRowError(f"missing column ({error})") from None
    if task.score != "choices":
        references = _references(answer, choices)
        return Question(number, contexts, (), (), references, neutral, rationale, apart)
    if task.contexts is not None:
        return _by_context(contexts, answer, task, row, number)
    _check_choices(choices)
    right = _right(answer, choices)
    return Question(number, contexts, choices, right, tuple(choices[one] for one in right), neutral)


def render_or_column(template: str, row: Row) -> str:
    """A column's value as text where the template is its name, else the text of the template."""
    return str(value(template, row)) if template else ""


def _by_context(contexts: tuple[str, ...], answer: object, task: Task, row: Row, number: int) -> Question:
    """A question whose choices stand before one text."""
    continuation = _text(render_or_column(task.continuation, row))
    if not continuation.strip():
        raise BrokenRowError("nothing to stand behind the contexts")
    _check_choices(contexts)
    return Question(number, contexts, (), _right(answer, contexts), (continuation,))


def _check_choices(choices: Sequence[str]) -> None:
    if len(choices) < 2:
        raise BrokenRowError("fewer than two choices")
    if any(not one.strip() for one in choices):
        raise BrokenRowError("an empty choice")
    if len(set(choices)) < len(choices):
        raise BrokenRowError("two choices that are the same")


def _right(answer: object, choices: Sequence[str]) -> tuple[int, ...]:
    """The right choices by number or by text."""
    given = list(answer) if isinstance(answer, list | tuple) else [answer]
    found = [_place(one, choices) for one in given]
    if not found or None in found:
        raise BrokenRowError("no right answer among the choices")
    return tuple(sorted({one for one in found if one is not None}))


def _place(answer: object, choices: Sequence[str]) -> int | None:
    if isinstance(answer, bool):
        answer = int(answer)
    if isinstance(answer, str):
        cleaned = _text(answer)
        if cleaned in choices:
            return choices.index(cleaned)
        if not answer.strip().isdecimal():
            return None
        answer = int(answer)
    return answer if isinstance(answer, int) and 0 <= answer < len(choices) else None


def _references(answer: object, choices: Sequence[str]) -> tuple[str, ...]:
    """The texts that count as right; a number is that of a choice where there are some."""
    given = list(answer) if isinstance(answer, list | tuple) else [answer]
    if choices:
        given = [choices[place] for one in given if (place := _place(one, choices)) is not None]
    texts = tuple(_text(str(one)) for one in given if one is not None)
    if not texts or any(not one.strip() for one in texts):
        raise BrokenRowError("no right answer")
    return texts


def _texts(template: str | list[str] | None, row: Row) -> tuple[str, ...]:
    return () if template is None else tuple(_text(one) for one in listed(template, row))


def _text(text: str) -> str:
    """What of a text reaches a tokenizer, as of every text from outside."""
    return clean(text)
