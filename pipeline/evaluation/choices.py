"""The multiple-choice score of a model: how much a question and k examples raise each choice's likelihood.

A small model finds short and common sentences likely whatever it is asked. So a choice's score is the log of
p(choice | question) / p(choice | neutral question), the pointwise mutual information of question and choice
(Holtzman et al. 2021, section 3), where the neutral question is the instruction without what it is about.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.evaluation.prompt_forms import PromptForm, prompt_form
from pipeline.evaluation.questions import Example, Question, QuestionSet, wilson
from pipeline.evaluation.scoring import Continuation, LanguageModel, log_likelihoods
from pipeline.prompting.chat import ChatTemplate

Ask = Callable[[ChatTemplate, Sequence[Example], str, str], Continuation]


@dataclass(frozen=True)
class Asked:
    """One question as tokens: a continuation a choice, and how many examples did not fit."""

    choices: list[Continuation]
    dropped: int
    cut: bool


def shot_curve(
    model: LanguageModel, task: QuestionSet, shots: Sequence[int], ask: Ask
) -> list[dict[str, Any]]:
    """For each number of examples: n, right, accuracy with its 95 % interval, and what did not fit.

    The choice with the highest score is the model's answer; `accuracy_per_byte` takes the one with the
    highest log-likelihood per byte of text instead, with no neutral question.
    """
    template, form = ChatTemplate(model.vocabulary), prompt_form(model.config, model.vocabulary)
    neutral = [replace(question, question=question.neutral, shots=()) for question in task.questions]
    asked = [[fit(template, question, count, ask, form) for question in task.questions] for count in shots]
    everything = [[fit(template, question, 0, ask, form) for question in neutral], *asked]
    items = [choice for questions in everything for one in questions for choice in one.choices]
    scores = iter(log_likelihoods(model, items))
    prior, *posteriors = [
        [[next(scores) for _ in one.choices] for one in questions] for questions in everything
    ]
    return [
        _result(task, count, questions, scored, prior)
        for count, questions, scored in zip(shots, asked, posteriors, strict=True)
    ]


def fit(template: ChatTemplate, question: Question, shots: int, ask: Ask, form: PromptForm) -> Asked:
    """The question with as many of its last `shots` examples as leave room for all choices.

    A question that is too long by itself loses its beginning.
    """
    for count in range(shots, -1, -1):
        examples = question.shots[len(question.shots) - count :]
        choices = [ask(template, examples, question.question, answer) for answer in question.choices]
        if all(form.fits(one.context, one.answer) for one in choices):
            return Asked(choices, shots - count, cut=False)
    return Asked([Continuation(*form.cut(one.context, one.answer)) for one in choices], shots, cut=True)


def _result(
    task: QuestionSet, shots: int, asked: list[Asked], scores: list[list[float]], prior: list[list[float]]
) -> dict[str, Any]:
    right = right_per_byte = 0
    for question, values, before in zip(task.questions, scores, prior, strict=True):
        sizes = [max(1, len(choice.encode())) for choice in question.choices]
        right += best([value - old for value, old in zip(values, before, strict=True)]) == question.right
        per_byte = [value / size for value, size in zip(values, sizes, strict=True)]
        right_per_byte += best(per_byte) == question.right
    total = len(task.questions)
    low, high = wilson(right, total)
    return {
        "shots": shots,
        "n": total,
        "right": right,
        "accuracy": right / total if total else None,
        "low": low,
        "high": high,
        "accuracy_per_byte": right_per_byte / total if total else None,
        "examples_dropped": sum(one.dropped for one in asked),
        "questions_cut": sum(one.cut for one in asked),
    }


def best(values: Sequence[float]) -> int:
    """Index of the highest value."""
    return max(range(len(values)), key=lambda index: values[index])
