"""URLs, personal data, contamination."""

import json
from pathlib import Path

import pytest

from data_prep.filters import pii, urls
from data_prep.filters.contamination import Contamination
from data_prep.filters.language import detect


@pytest.mark.parametrize(
    ("url", "hit"),
    [
        ("http://bad.test/x", True),
        ("https://www.BAD.test", True),
        ("http://notbad.test/", False),
        ("http://ok.test/spam/page?q=1", True),
        ("http://ok.test/spammer", False),
        ("http://ok.test/", False),
        ("", False),
        ("http://[broken", False),
    ],
)
def test_blocklist(url: str, hit: bool, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# a comment\nbad.test\nhttps://ok.test/spam/ # its spam\n")
    assert urls.Blocklist.read([tmp_path / "list.txt"]).blocks(url) == hit


@pytest.mark.parametrize(
    ("text", "clean", "count"),
    [
        ("write to jane.doe+x@mail.example.co.uk today", "write to email@example.com today", 1),
        ("(a@b.de), c@d.org.", "(email@example.com), email@example.com.", 2),
        ("not an address: @home or a@b or x@y.1", "not an address: @home or a@b or x@y.1", 0),
        ("the server 8.8.8.8 answers", "the server 192.0.2.1 answers", 1),
        ("private 10.1.2.3, 192.168.0.1, 127.0.0.1 stay", "private 10.1.2.3, 192.168.0.1, 127.0.0.1 stay", 0),
        ("documentation 192.0.2.7 and 203.0.113.9 stay", "documentation 192.0.2.7 and 203.0.113.9 stay", 0),
        ("version 1.2.3.4.5, 999.1.1.1 and 3.14", "version 1.2.3.4.5, 999.1.1.1 and 3.14", 0),
        ("leading zeros 08.8.8.8.", "leading zeros 192.0.2.1.", 1),
    ],
)
def test_personal_data(text: str, clean: str, count: int) -> None:
    assert pii.replace(text) == (clean, count)


def test_placeholders_stay_as_they_are() -> None:
    once, _ = pii.replace("a@b.de 9.9.9.9")
    assert pii.replace(once)[0] == once


def test_contamination_names_the_file(tmp_path: Path) -> None:
    question = "which of these seven rivers does flow through more countries than any other one"  # 14 words
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"q": question, "choices": ["a", "b"]}) + "\n")
    (tmp_path / "other.txt").write_text("nothing of interest\n\nin here")
    check = Contamination.read([tmp_path / "quiz.jsonl", tmp_path / "other.txt"], 13)
    clean = check.signals(question.replace("seven", "eight"))
    assert clean == {"contaminated_ngrams": 0.0, "contaminated_by": None}
    found = check.signals(
        "He asked: Which, of these SEVEN rivers does flow through more countries than any other?"
    )
    assert found == {"contaminated_ngrams": 1.0, "contaminated_by": "quiz.jsonl"}
    assert check.signals("short")["contaminated_ngrams"] == 0


def test_contamination_without_any_long_text(tmp_path: Path) -> None:
    (tmp_path / "tiny.txt").write_text("too short")
    assert Contamination.read([tmp_path / "tiny.txt"], 13).signals("any " * 20)["contaminated_ngrams"] == 0


@pytest.mark.parametrize(
    ("text", "language"),
    [("This is an ordinary sentence.", "en"), ("C'est une phrase tout à fait ordinaire.", "fr"), ("", "")],
)
def test_language(text: str, language: str) -> None:
    found, score = detect(text)
    assert found == language
    assert 0 <= score <= 1
    assert not text or score > 0.65
