"""Rewards by rule: those that there are, those from outside, and what is wrong in one sentence."""

from collections.abc import Iterator, Sequence

import pytest

from data_prep.contract.settings import InputError
from pipeline.preferences import rules as module
from pipeline.preferences.rules import Told, docstring_style, exact_answer, judged, rule_called, rules, style
from pipeline.prompting.chat import Message


def shortness(answers: Sequence[Told]) -> list[float]:
    """A rule as others would write it."""
    return [-float(len(one.text)) for one in answers]


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(module.VARIABLE, f"{__name__}:shortness")
    rules.cache_clear()
    yield
    rules.cache_clear()


def told(text: str, **row: object) -> Told:
    return Told((Message("user", "?"),), text, True, row)


@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [
        ("So it is 1,234.", "1234", 1),
        ("12 or 13", "12", 0),
        ("-3.50", "-3.5", 1),
        ("none", "7", 0),
        ("The List!", "the list", 1),
        ("a list", "the list", 0),
        ("", "", 0),
    ],
)
def test_exact_answers(text: str, answer: str, right: float) -> None:
    assert exact_answer([told(text, answer=answer)]) == [right]


def test_style_has_no_point_for_repetition_or_length() -> None:
    good = style("Return the sum of two numbers.")
    assert good == 4.0
    for worse in (
        "Returns the sum of two numbers.",
        "Return the sum of two numbers",
        "Return the sum of two numbers. And more.",
        "Return return return return the sum.",
        "Return it.",
        "Return " + " ".join(f"word{chr(97 + n)}" for n in range(20)) + ".",
    ):
        assert style(worse) < good, worse
    assert docstring_style([told(""), told("...")]) == [0.0, 0.0]


@pytest.mark.usefixtures("outside")
def test_a_rule_from_outside_has_its_functions_name() -> None:
    assert judged("shortness", rule_called("shortness", "here"), [told("abc")]) == [-3.0]


def test_what_is_wrong_with_a_rule_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"solver\.rules: no rule is called nice; there is exact_answer"):
        rule_called("nice", "solver.rules")
    with pytest.raises(InputError, match="2 finite numbers are expected of it"):
        judged("mine", lambda answers: [float("nan")] * 2, [told("a"), told("b")])
    monkeypatch.setenv(module.VARIABLE, "tests.nowhere:shortness")
    rules.cache_clear()
    with pytest.raises(InputError, match=r"BLOOMERY_REWARDS: tests\.nowhere:shortness cannot be loaded"):
        rules()
    rules.cache_clear()
