"""Rewards by rule: plain functions from answers to numbers, several with weights beside one another.

    rules: {exact_answer: 1.0, my_rule: 0.5, "http://127.0.0.1:8000/score": 1.0}

A rule is a function of a list of `Told` to as many numbers; an address is one that asks there (`remote`).
Rules from outside come as entry points of the group `bloomery.rewards`, or for this process and those that it
starts from BLOOMERY_REWARDS=package.module:function,...; a recipe cannot name code.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from data_prep.contract.plugins import from_outside
from data_prep.contract.settings import InputError
from pipeline.preferences.remote import SCHEMES, Remote
from pipeline.preferences.sandbox.run import run_all
from pipeline.tuning.instructions import Conversation

GROUP, VARIABLE = "bloomery.rewards", "BLOOMERY_REWARDS"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
FENCED = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
WORD = re.compile(r"[^\W\d_]+")
FEWEST, MOST = 4, 12
"""Words of a summary in one line."""


@dataclass(frozen=True)
class Told:
    """An answer, and what it answers."""

    prompt: Conversation
    text: str
    ended: bool = True
    """Whether it came to its end within the most tokens."""
    row: Mapping[str, Any] = field(default_factory=dict)
    """The prompt's row with all its keys."""


Rule = Callable[[Sequence[Told]], Sequence[float]]


def exact_answer(answers: Sequence[Told]) -> list[float]:
    """1 where the answer is the row's `answer`: the last number where that is one, else the same words."""
    return [float(is_right(one.text, str(one.row.get("answer", "")))) for one in answers]


def is_right(text: str, answer: str) -> bool:
    """Whether a text gives an answer.

    >>> is_right("2 + 40 makes 42.", "42"), is_right(" A list. ", "a list")
    (True, True)
    """
    wanted = NUMBER.fullmatch(answer.replace(",", "").strip())
    if wanted:
        found = NUMBER.findall(text.replace(",", ""))
        return bool(found) and float(found[-1]) == float(wanted.group())
    said, right = (" ".join(WORD.findall(one.casefold())) for one in (text, answer))
    return bool(right) and said == right


def unit_tests(answers: Sequence[Told]) -> list[float]:
    """1 where the Python code of an answer passes the row's `tests`, in a sandbox with limits.

    `tests` is source text or a list of lines; what a row has under `setup` comes before the answer.
    `InputError` for a row without tests.
    """
    return [float(one.passed) for one in run_all([program(one) for one in answers])]


def program(one: Told) -> tuple[str, str]:
    """Source of an answer and of its tests."""
    tests = one.row.get("tests")
    lines = [line for line in (tests if isinstance(tests, list) else [tests]) if isinstance(line, str)]
    if not lines or (isinstance(tests, list) and len(lines) < len(tests)):
        raise InputError("rules.unit_tests: a prompt's row needs tests, Python source or a list of lines")
    return f"{one.row.get('setup', '')}\n{code(one.text)}", "\n".join(lines)


def code(text: str) -> str:
    """The last fenced block of an answer, or all of it where there is none.

    >>> code("So:\\n```python\\nx = 1\\n```\\nDone.")
    'x = 1\\n'
    """
    blocks = FENCED.findall(text)
    return blocks[-1] if blocks else text


def docstring_style(answers: Sequence[Told]) -> list[float]:
    """How well one-line summaries of functions keep to PEP 257, from 0 to 4."""
    return [style(one.text) for one in answers]


def style(text: str) -> float:
    """A point each for: one line that ends in its only period; an imperative ("Return", not "Returns"); 4 to
    12 words, less for each beyond; words that are all different, by their share.

    >>> style("Return the list of all names."), style("returns a a a")
    (4.0, 1.5)
    """
    text = text.strip()
    words = WORD.findall(text)
    if not words:
        return 0.0
    ends = text.endswith(".") and text.count(".") == 1 and "\n" not in text
    first = words[0]
    commands = first.istitle() and len(first) > 2 and (not first.endswith("s") or first.endswith("ss"))
    beyond = max(0, FEWEST - len(words), len(words) - MOST)
    different = len({word.casefold() for word in words}) / len(words)
    return float(ends) + float(commands) + max(0.0, 1 - beyond / 8) + different


OWN: tuple[Rule, ...] = (exact_answer, unit_tests, docstring_style)


@cache
def rules() -> dict[str, Rule]:
    """A rule of each name. `InputError` where one from outside cannot be loaded or its name is taken."""
    found: dict[str, Rule] = {}
    for place, rule in [*((one.__name__, one) for one in OWN), *from_outside(GROUP, VARIABLE)]:
        name = getattr(rule, "__name__", "")
        if not callable(rule) or not name.isidentifier():
            raise InputError(f"{place}: no rule; a function of a list of answers is expected")
        if name in found:
            raise InputError(f"{place}: there is a rule called {name} already")
        found[name] = rule
    return found


def rule_called(name: str, where: str) -> Rule:
    """The rule of a name or an address that a recipe gives. `InputError` where there is none."""
    if name.startswith(SCHEMES):
        return Remote(name)
    if name not in rules():
        known = ", ".join(rules())
        raise InputError(f"{where}: no rule is called {name}; there is {known}, or http://... for an address")
    return rules()[name]


def judged(name: str, rule: Rule, answers: Sequence[Told]) -> list[float]:
    """What a rule says of answers. `InputError` where it says something else than as many finite numbers."""
    said = [float(one) for one in rule(answers)]
    if len(said) != len(answers) or not all(math.isfinite(one) for one in said):
        raise InputError(
            f"rules.{name}: {len(answers)} finite numbers are expected of it; it gave {said[:8]}"
        )
    return said
