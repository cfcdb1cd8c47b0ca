"""Cleaning: what a column may hold, what is unreadable, and time that grows with the length alone."""

import time
from itertools import pairwise

import pytest

from data_prep.cleaning import clean, clean_detail, normalise, unreadable
from data_prep.documents import content_hash
from data_prep.extract.html import ExtractionError, decode
from data_prep.sources.http import join_chunks
from data_prep.sources.records import fields, http_answer

SIGNS = [
    " ",
    "\t",
    "\n",
    "\r",
    "\x0b",
    "\x85",
    "\u00a0",
    "\u2028",
    "\u3000",
    "a",
    "é",
    "\u0301",
    "\u0316",
    "\u0344",
    "\u0f73",
    "\u0f71",
    "\u1100",
    "\u1161",
    "\u11a8",
    "\uac00",
    "\ufb03",
    "\u0130",
    "\u0b47",
    "\u0b57",
    "\u0dca",
    "\U0001d165",
    "\u200b",
    "\ufffd",
    "\ud800",
    "\0",
    "<",
    ">",
    "&",
    '"',
    "=",
    "-",
    "!",
    "0",
    "{",
    "\U0001f600",
]
EVERY = (
    SIGNS
    + [a + b for a, b in pairwise(SIGNS)]
    + [" \n", "\n\n ", " a", "\u0301\u0316", "\u0f73\u0344", "a \t"]
)
LENGTH = 1_000_000


def seconds(unit: str, length: int) -> float:
    text = unit * (length // len(unit))
    begun = time.process_time()
    content_hash(normalise(text))
    return time.process_time() - begun


@pytest.mark.parametrize("unit", EVERY, ids=[ascii(unit) for unit in EVERY])
def test_any_characters_are_cleaned_in_linear_time(unit: str) -> None:
    assert seconds(unit, LENGTH) < 8  # half a second here; minutes where it was squared


@pytest.mark.parametrize("unit", ["\u0301\u0316", "\u0f73", " ", "\t\u3000"])
def test_what_was_squared_grows_with_the_length(unit: str) -> None:
    seconds(unit, 1_000)
    assert seconds(unit, 400_000) < 30 * max(seconds(unit, 40_000), 0.005)


@pytest.mark.parametrize("unit", EVERY[::3], ids=[ascii(unit) for unit in EVERY[::3]])
def test_pages_and_answers_are_taken_apart_in_linear_time(unit: str) -> None:
    raw = (unit * (LENGTH // len(unit))).encode("utf-8", "ignore")
    begun = time.process_time()
    try:
        decode(raw, "utf-8")
        decode(raw)
    except ExtractionError:
        pass
    join_chunks(raw)
    http_answer(b"HTTP/1.1 200 OK\r\n" + raw)
    fields([b"a: b", *[b" " + raw[:20]] * 50_000])
    assert time.process_time() - begun < 8


def test_cleaning_is_what_it_was() -> None:
    text = "  Title \u00a0\t\r\nline one\u2028\u200b  indented\x07 \r\n\r\n\r\n\r\ne\u0301 end  \ufeff\n\n"
    assert normalise(text) == "Title\nline one\n  indented\n\né end"
    marks = "a" + "\u0301\u0316" * 10
    assert normalise("x " + marks).count("\u0316") == 10
    assert len(normalise("o" + "\u0316" * 500)) == 31


def test_strings_for_columns() -> None:
    assert clean("http://a.test/\ud83d\0\x1b?q=\ufffe1") == "http://a.test/?q=1"
    assert clean("half \ude00 of 😀") == "half  of 😀"
    assert clean_detail("cannot open\nhttps://joe:S3CRET@host/a\0") == "cannot open https://joe:***@host/a"


@pytest.mark.parametrize(
    ("text", "rejected"),
    [
        ("", False),
        ("plain", False),
        ("A short line with a cut charact\ufffd", False),
        ("\ufffd\ufffd", True),
        ("\ufffd", True),
        ("ab\ufffdcd", True),
        ("word " * 100 + "\ufffd" * 3, False),
        ("word " * 100 + "\ufffd" * 6, True),
        ("��� ����� �����", True),
    ],
)
def test_texts_that_are_unreadable(text: str, rejected: bool) -> None:
    assert bool(unreadable(text)) == rejected
