"""Questions to prompts: the examples that stand before each, drawn by the seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.tasks.questions import Question
from pipeline.evaluation.tasks.settings import Task


@dataclass(frozen=True)
class Sitting:
    """All questions of a task with one number of examples, drawn once."""

    task: Task
    shots: int
    draw: int
    questions: Sequence[Question]
    pool: Sequence[Question]
    """What examples are drawn from."""
    own: bool
    """Whether these are the task's own questions, so that a question must not be its own example."""
    seed: int

    def examples(self, question: Question) -> list[Question]:
        """The examples of a question, by seed, draw and its number alone; k shots are the first k of more."""
        pool = self.pool
        if self.task.few_shot.take == "first":
            return [one for one in pool if not self._is(one, question)][: self.shots]
        random = np.random.default_rng([self.seed, self.draw, question.number, *self.task.task.encode()])
        chosen = random.permutation(len(pool))[: self.shots + 1]
        return [pool[int(i)] for i in chosen if not self._is(pool[int(i)], question)][: self.shots]

    def _is(self, one: Question, question: Question) -> bool:
        return self.own and one.number == question.number


def sittings(
    task: Task, questions: Sequence[Question], pool: Sequence[Question], own: bool, seed: int
) -> list[Sitting]:
    """Every number of examples, and with examples every draw."""
    few = task.few_shot
    return [
        Sitting(task, shots, draw, questions, pool, own, seed)
        for shots in few.shots
        for draw in range(few.draws if shots and few.take == "random" else 1)
    ]


def before(task: Task, examples: Sequence[Question]) -> str:
    """What stands before a question: the description, then each example with its answer.

    As lm-evaluation-harness puts them together.
    """
    few = task.few_shot
    shown = "".join(f"{answered(task, one)}{few.separator}" for one in examples)
    return task.description + shown


def answered(task: Task, example: Question) -> str:
    """An example with its answer."""
    return f"{example.context}{delimiter(task, example.context)}{example.references[0]}"


def delimiter(task: Task, context: str) -> str:
    """What stands between a context and an answer; nothing where there is no context."""
    return task.delimiter if context else ""
