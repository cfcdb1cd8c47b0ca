"""Patterns of task files find what they are written for, and end."""

import signal

import pytest

from data_prep.contract.settings import InputError
from pipeline.evaluation.tasks import patterns
from pipeline.evaluation.tasks.extraction import extracted
from pipeline.evaluation.tasks.settings import Extract
from pipeline.evaluation.tasks.templates import render

ENDLESS = "(a+)+b"


def test_a_pattern_without_end_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.05)
    before = signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(InputError, match=r"takes more than .* on a text of 60 characters"):
        extracted("a" * 60, Extract(pattern=ENDLESS))
    with pytest.raises(InputError, match="takes more than"):
        render("{{ text | regex_replace('" + ENDLESS + "', '') }}", {"text": "a" * 60})
    assert signal.getsignal(signal.SIGVTALRM) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_others_are_as_python_has_them() -> None:
    assert extracted("12, then 7.", Extract(pattern="[0-9]+", take="last")) == "7"
    assert render("{{ text | regex_replace('a(.)', '\\\\1', 1) }}", {"text": "ab ac"}) == "b ac"
    with pytest.raises(InputError, match="cannot be replaced"):
        patterns.replaced("a", r"\9", "a")
