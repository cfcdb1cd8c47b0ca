# ruff: noqa: RUF001
"""Long texts of one character, or of two in turn: every pattern reads them in time that grows with them."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_prep import limit
from data_prep.config import CorpusConfig
from data_prep.dedup import lines
from data_prep.filters import c4, decide, gopher, pii, tag
from data_prep.filters.phrases import Phrases
from data_prep.filters.sentences import sentences
from data_prep.filters.settings import C4Filter
from data_prep.filters.urls import Blocklist
from data_prep.filters.words import Parsed, shingles, words_of
from data_prep.limit import OverTimeError, limited

CHARACTERS = (
    *("a", "A", "1", " ", "\n", "\t", ".", "!", ",", ";", "-", "_", "'", '"', "@", "#", "%", "/", "[", "]"),
    *("{", "(", "…", "•", "é", "ß", "İ", "Σ", "я", "ا", "अि", "好", "か", "ก", "가", "。", "।", "\u00a0"),
    *("\u00ad", "\u0301", "\u0323", "\u200d", "😀"),
)
SECONDS = 10.0
"""Of processor time, for what takes a tenth of a second."""
LONG = 250_000
"""Characters, for which a pattern that is quadratic takes minutes."""
PHRASES = Phrases(
    [f"{first}{second} word" for first in "abc1傻" for second in "abc1瓜"] + ["a a a a a b", "好好"]
)
STEPS: dict[str, Callable[[str], Any]] = {
    "words": words_of,
    "quality": lambda text: gopher.quality(Parsed.of(text)),
    "shingles": lambda text: shingles(text, 5),
    "lines": lambda text: c4.clean_lines(text, C4Filter(terminal_punctuation=False, min_line_words=0)),
    "sentences": sentences,
    "personal data": pii.replace,
    "phrases": PHRASES.count,
    "repeated lines": lambda text: lines.without_lines(text, frozenset([1])),
    "address": Blocklist(frozenset(["a.test/b/c"]), 2).blocks,
}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit, "SECONDS", SECONDS)
    monkeypatch.setattr(limit, "SECONDS_PER_CHARACTER", 0.0)


def between(middle: str) -> str:
    """The text between words: a pattern that wants it at a line's end has to give up at its end."""
    return f"http://Begin {middle}x end"


@pytest.mark.parametrize("step", STEPS)
def test_any_one_character(step: str) -> None:
    for character in CHARACTERS:
        text = between(character * (LONG // len(character)))
        with limited(text):
            STEPS[step](text)


@pytest.mark.parametrize("step", STEPS)
def test_any_two_characters_in_turn(step: str) -> None:
    draw = random.Random(step)
    for _ in range(20):
        pair = "".join(draw.sample(CHARACTERS, 2))
        text = between(pair * (LONG // len(pair)))
        with limited(text):
            STEPS[step](text)


@pytest.mark.parametrize("step", STEPS)
def test_marks_in_turn_are_not_sorted(step: str) -> None:
    """Normalisation sorts the marks on a letter, which takes quadratic time."""
    text = between("\u0301\u0323" * LONG)
    with limited(text):
        STEPS[step](text)


def stuck(*arguments: Any) -> Any:
    """Stands for a step that nobody foresaw."""
    while True:
        time.sleep(0)


def test_a_document_over_its_time_is_ended_and_the_timer_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit, "SECONDS", 0.05)
    with pytest.raises(OverTimeError), limited("x"):
        stuck()
    with limited("x"):
        pass
    begin = time.process_time()
    while time.process_time() - begin < 0.2:
        pass


def test_signals_of_a_document_over_its_time_are_none_and_the_others_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpus = CorpusConfig.model_validate({"filters": {"use": ["gopher_quality", "c4"]}})
    tagger = tag.Tagger(*tag.tag_settings(corpus))
    monkeypatch.setattr(limit, "SECONDS", 0.2)
    original = tag.gopher.quality
    monkeypatch.setattr(
        tag.gopher,
        "quality",
        lambda parsed, words: (stuck if "slow" in parsed.text else original)(parsed, words),
    )
    for number, text in enumerate(["A good text.", "A slow text.", "Another text."]):
        tagger.add(number, "", text)
    assert tagger.columns["over_time"] == [False, True, False]
    assert tagger.columns["gopher_words"] == [3, 0, 2]
    assert tagger.columns["characters"][1] == len("A slow text.")
    assert len(tagger.hashes) == len(tagger.bands) == 3


def test_a_text_that_cannot_be_finished_in_time_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    import pyarrow as pa

    monkeypatch.setattr(limit, "SECONDS", 0.2)
    original = pii.replace
    monkeypatch.setattr(decide.pii, "replace", lambda text: stuck() if "slow" in text else original(text))
    filters = CorpusConfig().filters.model_dump(mode="json")
    finish = decide.Finisher(filters, True, None)
    table = pa.table({"text": ["write a@b.de", "slow c@d.de", "write e@f.de"]})
    kept, slow = finish.table(table, np.array([4, 7, 9]))
    assert kept["text"].to_pylist() == ["write email@example.com"] * 2
    assert (slow, finish.masked) == ([7], 2)


def test_a_preparation_goes_on_without_the_documents_that_take_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.data_prep.helpers import prep_config, prepare_here, story, write_jsonl

    texts = [story(number) for number in range(30)]
    texts[3] += "\nThis one is slow to tag."
    texts[8] += "\nThis one is slow to mask."
    texts[12] += "\nThis one has slow lines."
    write_jsonl(tmp_path / "a.jsonl", texts)
    monkeypatch.setattr(limit, "SECONDS", 0.4)
    for module, name, word in (
        (tag, "content_hash", "slow to tag"),
        (decide.pii, "replace", "slow to mask"),
        (lines, "line_hash", "slow lines"),
    ):
        original = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda text, o=original, w=word: stuck() if w in text else o(text)
        )  # fmt: skip
    config = prep_config([tmp_path / "a.jsonl"], corpus={"dedup": {"lines": {"enabled": True}}})
    counts = prepare_here(config, tmp_path / "out")
    removed = {step["step"]: step["removed"] for step in counts["funnel"]}
    assert removed["kept by the rules"] == {"took too long": 1}
    assert removed["in time"] == {"took too long": 2}
    assert counts["train_documents"] + counts["validation_documents"] == 27
