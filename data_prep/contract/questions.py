"""Questions about a picture and their answers: how a dataset, and what comes from outside, has them.

In a dataset's tar they are `<key>.questions.json` beside the picture, a list of

    {"question": "what colour is it?", "answer": "red", "about": "colour", "rationale": "it is a red circle."}

of which only the first two must be there. From outside a pair [question, answer] does, too.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from data_prep.contract.reading import read_json


class Question(NamedTuple):
    """One question with what is right."""

    question: str
    answer: str
    about: str = ""
    """What it asks for, such as `colour`: figures are told apart by it."""
    rationale: str = ""
    """What leads from the picture to the answer."""


def questions_in(value: object) -> tuple[Question, ...]:
    """Questions of a value from outside; what is none is left out."""
    found = (_question(one) for one in value) if isinstance(value, list | tuple) else iter(())
    return tuple(one for one in found if one is not None)


def _question(value: object) -> Question | None:
    if isinstance(value, list | tuple):
        value = dict(zip(Question._fields[:2], value, strict=False)) if len(value) == 2 else {}
    if not isinstance(value, dict):
        return None
    told = {name: value.get(name) or "" for name in Question._fields}
    if not all(isinstance(one, str) for one in told.values()) or not (told["question"] and told["answer"]):
        return None
    return Question(**told)


def written(questions: Sequence[Question]) -> str:
    """Their JSON; what is unsaid is left out."""
    told = [{name: value for name, value in one._asdict().items() if value} for one in questions]
    return json.dumps(told, ensure_ascii=False)


def parsed(content: bytes, place: str) -> tuple[Question, ...]:
    """The questions of such JSON. `InputError` where it is none."""
    value: Any = read_json(content, place)
    return questions_in(value)
