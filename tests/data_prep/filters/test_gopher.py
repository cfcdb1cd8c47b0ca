"""The Gopher signals against loops written from the paper, word by word."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.filters import gopher
from data_prep.filters.words import Parsed

texts = st.lists(st.sampled_from(["a", "bb", "ccc", ".", "dd-d", "\n", "\n\n"]), max_size=60).map(" ".join)


def slow_top(words: list[str], n: int) -> int:
    counts = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    if not counts:
        return 0
    gram, count = counts.most_common(1)[0]  # ties go to the one that came first
    return len(gram) * count


def slow_duplicates(words: list[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    size = at = 0
    while at <= len(words) - n:
        gram = tuple(words[at : at + n])
        if gram in seen:
            size += sum(map(len, gram))
            at += n
        else:
            seen.add(gram)
            at += 1
    return size


@given(texts)
def test_ngram_signals_are_those_of_plain_loops(text: str) -> None:
    parsed = Parsed.of(text)
    values = gopher.repetition(parsed, top=(1, 2, 4), duplicate=(2, 3, 5))
    characters = max(len(text), 1)
    for n in (1, 2, 4):
        assert values[f"gopher_top_{n}_gram"] == slow_top(parsed.words, n) / characters
    for n in (2, 3, 5):
        assert values[f"gopher_duplicate_{n}_grams"] == slow_duplicates(parsed.words, n) / characters


def test_repetition_by_hand() -> None:
    text = "one two\nthree\none two\n\nthree\nx"
    values = gopher.repetition(Parsed.of(text))
    assert values["gopher_duplicate_lines"] == 2 / 5  # "one two" and "three" occur a second time
    assert values["gopher_duplicate_line_characters"] == 12 / len(text)
    assert values["gopher_duplicate_paragraphs"] == 0
    assert values["gopher_top_2_gram"] == len("one two") * 2 / len(text)
    assert gopher.repetition(Parsed.of("p\n\nq\n\np"))["gopher_duplicate_paragraphs"] == 1 / 3


def test_quality_by_hand() -> None:
    text = "# The cat's hat...\n- that, the end…\n• 42 of"
    values = gopher.quality(Parsed.of(text))
    words = ["The", "cat's", "hat", "that", "the", "end", "42", "of"]
    symbols = ["#", "...", "-", ",", "…", "•"]
    assert sorted(Parsed.of(text).words) == sorted(words + symbols)
    assert values == {
        "gopher_words": 8,
        "gopher_mean_word_length": pytest.approx(sum(map(len, words)) / 8),
        "gopher_hash_ratio": 1 / 14,
        "gopher_ellipsis_ratio": 2 / 14,
        "gopher_bullet_lines": 2 / 3,
        "gopher_ellipsis_lines": 2 / 3,
        "gopher_alphabetic_words": 7 / 14,
        "gopher_stop_words": 3,  # that, the, of: "The" has a capital letter
    }


def test_an_empty_text_has_values_too() -> None:
    assert set(gopher.quality(Parsed.of("")).values()) == {0}
    assert set(gopher.repetition(Parsed.of("")).values()) == {0}
