"""Which pictures and captions stay: rules in order, of which the first that is broken rejects a picture."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from data_prep.cleaning import normalise
from data_prep.contract.questions import Question
from data_prep.images.config import PictureRules

_FILE_NAME = re.compile(r"\S+\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg)", re.IGNORECASE)
COLUMNS = {"caption": "captions", "label": "label", "questions": "questions"}
"""Where a row of a picture has what it may be asked to have."""
SHARED = 10
"""Pictures that may have one caption, where that is asked."""


@dataclass(frozen=True)
class Facts:
    """What a picture is judged by."""

    width: int
    height: int
    captions: Sequence[str]
    """Those that fit."""
    had_captions: bool
    label: str
    score: float | None = None
    """What a model says of picture and caption; None where it was not asked."""
    asked: bool = False
    """Whether there are questions about it."""


Rule = Callable[[Facts, PictureRules, Collection[str]], float | None]
"""The value that breaks the rule; None where it is kept. The last argument is what pictures must have."""

RULES: dict[str, Rule] = {
    "no caption": lambda facts, rules, fields: (
        0.0 if "caption" in fields and not facts.had_captions else None
    ),
    "no label": lambda facts, rules, fields: 0.0 if "label" in fields and not facts.label else None,
    "too small": lambda facts, rules, fields: _below(min(facts.width, facts.height), rules.least_side),
    "too large": lambda facts, rules, fields: _above(max(facts.width, facts.height), rules.most_side),
    "too long or too tall": lambda facts, rules, fields: _above(
        max(facts.width, facts.height) / min(facts.width, facts.height), rules.most_aspect
    ),
    "captions do not fit": lambda facts, rules, fields: (
        0.0 if "caption" in fields and facts.had_captions and not facts.captions else None
    ),
    "no score": lambda facts, rules, fields: 0.0 if rules.scores and facts.score is None else None,
    "low score": lambda facts, rules, fields: (
        None if facts.score is None or not rules.scores else _below(facts.score, rules.least_score)
    ),
    "no questions": lambda facts, rules, fields: 0.0 if "questions" in fields and not facts.asked else None,
}
NAMES = [*RULES]
DUPLICATES = ("exact duplicate", "near-duplicate")


def judge(facts: Facts, rules: PictureRules, fields: Collection[str]) -> tuple[int, float] | None:
    """The number of the first rule that a picture breaks, and the value that does; None where it stays."""
    for number, rule in enumerate(RULES.values()):
        value = rule(facts, rules, fields)
        if value is not None:
            return number, value
    return None


def cleaned(caption: str) -> str:
    """A caption on one line, with no control characters."""
    return " ".join(normalise(caption).split())


def cleaned_questions(questions: Sequence[Question]) -> list[Question]:
    """Questions of which each part is such a line, without those that lose what makes them one."""
    found = (Question(*map(cleaned, one)) for one in questions)
    return [one for one in found if one.question and one.answer]


def fitting(captions: Sequence[str], rules: PictureRules, shared: Collection[str] = ()) -> list[str]:
    """The captions that stay, each once, in the order in which they came."""
    return [caption for caption in dict.fromkeys(captions) if caption not in shared and fits(caption, rules)]


def fits(caption: str, rules: PictureRules) -> bool:
    """Whether a caption stays.

    >>> fits("A dog on a beach.", PictureRules()), fits("IMG_20190101_1234.jpg", PictureRules())
    (True, False)
    """
    if not caption or _FILE_NAME.fullmatch(caption):
        return False
    letters = sum(sign.isalpha() for sign in caption) / len(caption)
    return (
        rules.caption_characters[0] <= len(caption) <= rules.caption_characters[1]
        and rules.caption_words[0] <= len(caption.split()) <= rules.caption_words[1]
        and letters >= rules.caption_letters
    )


def _below(value: float, bound: float) -> float | None:
    return value if value < bound else None


def _above(value: float, bound: float | None) -> float | None:
    return value if bound is not None and value > bound else None
