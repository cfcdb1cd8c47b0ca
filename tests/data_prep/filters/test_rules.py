"""Every rule with texts on both sides of its threshold."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data_prep.config import CorpusConfig
from data_prep.filters.rules import judge, rules
from data_prep.filters.tag import signaller, tag_settings

PROSE = (
    "The harbour of the old town lies quiet in the morning, and the fishermen that have been out all night "
    "bring their boats back with the tide. Children run along the wall to see what they have caught, while "
    "bakers carry warm bread to the market. By noon every stall is busy, voices rise above the noise of "
    "carts, and nobody remembers how silent it was a few hours before."
)
"""67 words that every filter likes."""


def verdict(text: str, use: list[str], address: str = "", **filters: Any) -> str:
    """The rule that rejects a text, or nothing."""
    decontaminate = filters.pop("decontaminate", {})
    corpus = CorpusConfig.model_validate({"filters": {"use": use, **filters}, "decontaminate": decontaminate})
    kept, values = signaller(*tag_settings(corpus))(address, text)
    values |= {"characters": len(kept)}
    order = rules(corpus.filters, corpus.decontaminate)
    index, _ = judge(
        pa.table({name: [value] for name, value in values.items()}), order, corpus.filters.language.keep
    )
    return order[index[0]].name if index[0] >= 0 else ""


def words(count: int, word: str = "word") -> str:
    """That many different words of about five letters, with stop words among them."""
    return " ".join(
        ["the", "of"] + [f"{word}{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}" for i in range(count - 2)]
    )


LINES = "\n".join(
    f"Line number {chr(97 + i)} says {chr(97 + i) * 5} to you and that is all." for i in range(20)
)


def many(count: int, end: str = ".") -> str:
    """That many different lines of more than 30 characters, all of one length."""
    return "".join(f"Line number {i:03d} has these many words in it{end}\n" for i in range(count))


def few(count: int) -> str:
    """That many different lines of at most 30 characters."""
    return "".join(f"Exactly thirty characters {i:03d}.\n" for i in range(count))


def flowing(count: int, line_ends: int) -> str:
    """That many long words, the full stops among them, with line ends after some."""
    text = [f"extraordinarilylongishwordof{i:03d}" for i in range(count - line_ends)]
    return " ".join(text[:-line_ends]) + "".join(f" {word}.\n" for word in text[-line_ends:])


CASES = [
    # filter, rule, a text that passes, one that does not
    ("gopher_quality", "gopher: too few words", words(50), words(49)),
    ("gopher_quality", "gopher: too many words", words(100_000), words(100_001)),
    ("gopher_quality", "gopher: words too short", "there of " + "abc " * 60, "there of " + "ab " * 60),
    (
        "gopher_quality",
        "gopher: words too long",
        "the of " + "a" * 10 + (" " + "b" * 10) * 60,
        "the of" + " abcdefghijkl" * 60,
    ),
    ("gopher_quality", "gopher: hash signs", words(90) + " #" * 10, words(90) + " #" * 11),
    ("gopher_quality", "gopher: ellipses", words(90) + " ..." * 10, words(90) + " …" * 11),
    (
        "gopher_quality",
        "gopher: bullet lines",
        "\n".join(["- " + PROSE] * 9 + [PROSE]),
        "\n".join(["- " + PROSE] * 10),
    ),
    (
        "gopher_quality",
        "gopher: ellipsis lines",
        "\n".join([PROSE + "..."] * 3 + [PROSE] * 7),
        "\n".join([PROSE + "…"] * 4 + [PROSE] * 6),
    ),
    ("gopher_quality", "gopher: words without letters", words(80) + " 123" * 20, words(80) + " 123" * 21),
    ("gopher_quality", "gopher: no stop words", "the of " + "word " * 60, "the the " + "word " * 60),
    (
        "gopher_repetition",
        "gopher: duplicate lines",
        "\n".join(LINES.split("\n") + ["a b"] * 10),
        "\n".join(LINES.split("\n") + ["a b"] * 11),
    ),
    (
        "gopher_repetition",
        "gopher: duplicate paragraphs",
        "\n\n".join(LINES.split("\n") + ["a b"] * 10),
        "\n\n".join(LINES.split("\n") + ["a b"] * 11),
    ),
    (
        "gopher_repetition",
        "gopher: duplicate line characters",
        "\n".join(LINES.split("\n") + LINES.split("\n")[:4]),
        "\n".join(LINES.split("\n") + LINES.split("\n")[:6]),
    ),
    (
        "gopher_repetition",
        "gopher: duplicate paragraph characters",
        "\n\n".join(LINES.split("\n") + LINES.split("\n")[:4]),
        "\n\n".join(LINES.split("\n") + LINES.split("\n")[:6]),
    ),
    ("gopher_repetition", "gopher: top 2-gram", words(180) + " x ya" * 20, words(50) + " x yonder" * 20),
    ("c4", "c4: lorem ipsum", PROSE, PROSE + "\nThen they wrote lorem ipsum all over it."),
    ("c4", "c4: curly bracket", PROSE, PROSE + "\nThe function was if (x) { return y; } and no more."),
    (
        "c4",
        "c4: too few sentences",
        "It is one two. It is three four. It is five.",
        "It is one two. It is three four.",
    ),
    ("fineweb", "fineweb: punctuated lines", many(12, ".") + many(88, ","), many(11, ".") + many(89, ",")),
    ("fineweb", "fineweb: short lines", many(33) + few(67), many(32) + few(68)),
    ("fineweb", "fineweb: duplicate lines", many(120) + many(1), many(80) + many(1)),
    ("fineweb", "fineweb: line ends", flowing(101, 30), flowing(101, 31)),
    (
        "language",
        "language",
        PROSE,
        "Der Hafen der alten Stadt liegt am Morgen still, und die Fischer kommen zurück.",
    ),
]


@pytest.mark.parametrize(("name", "rule", "passes", "fails"), CASES, ids=[case[1] for case in CASES])
def test_both_sides_of_the_threshold(name: str, rule: str, passes: str, fails: str) -> None:
    assert verdict(passes, [name]) != rule
    assert verdict(fails, [name]) == rule


@pytest.mark.parametrize("n", [2, 3, 4])
def test_top_ngrams_have_a_bound_each(n: int) -> None:
    """A phrase of n words, three times among 100 others: its share of the characters decides."""
    phrase = " ".join("zyxw"[:n])
    text = f"{words(100)} {phrase} of {phrase} the {phrase}"
    share = 3 * len(phrase) / len(text)
    for bound, expected in ((share, ""), (share * 0.999, f"gopher: top {n}-gram")):
        bounds = {"max_top_ngrams": {n: bound}, "max_duplicate_ngrams": {}}
        assert verdict(text, ["gopher_repetition"], gopher_repetition=bounds) == expected


@pytest.mark.parametrize("n", [5, 6, 7, 8, 9, 10])
def test_duplicate_ngrams_have_a_bound_each(n: int) -> None:
    """One repeated run of n words among 200: its share of the characters decides."""
    repeated = words(n + 2, "again").split(" ", 2)[2]
    text = f"{repeated} {words(200)} {repeated}"
    share = len(repeated.replace(" ", "")) / len(text)
    for bound, expected in ((share, ""), (share * 0.999, f"gopher: duplicate {n}-grams")):
        bounds = {"max_top_ngrams": {}, "max_duplicate_ngrams": {n: bound}}
        assert verdict(text, ["gopher_repetition"], gopher_repetition=bounds) == expected


def test_language_has_a_threshold() -> None:
    from data_prep.filters.language import detect

    language, score = detect("Hello und guten Morgen, my friends.")
    for threshold, expected in ((score, ""), (min(1.0, score * 1.001), "language")):
        settings = {"keep": [language], "threshold": threshold}
        assert verdict("Hello und guten Morgen, my friends.", ["language"], language=settings) == expected


def test_rules_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("bad.test\ndarn\n")
    blocked = {"blocklist": str(tmp_path / "list.txt")}
    assert verdict(PROSE, ["url"], "http://good.test/bad.test", url=blocked) == ""
    assert verdict(PROSE, ["url"], "http://www.bad.test/", url=blocked) == "url: blocked"
    words = {"bad_words": str(tmp_path / "list.txt")}
    assert verdict(PROSE + "\nThey darned their nets all night long.", ["c4"], c4=words) == ""
    assert verdict(PROSE + "\nThe darn nets were torn all night.", ["c4"], c4=words) == "c4: bad words"
    question = " ".join(PROSE.split()[:13])
    for text, expected in ((question, "contaminated"), (question.rsplit(" ", 1)[0], "")):
        (tmp_path / "quiz.txt").write_text(text)
        assert verdict(PROSE, [], decontaminate={"paths": [str(tmp_path / "quiz.txt")]}) == expected


def test_sizes() -> None:
    assert verdict("x" * 9, [], min_characters=9) == verdict("x" * 9, [], max_characters=9) == ""
    assert verdict("x" * 8, [], min_characters=9) == "too short"
    assert verdict("x" * 10, [], max_characters=9) == "too long"


def test_no_rule_is_left_out() -> None:
    every = ["url", "language", "gopher_repetition", "gopher_quality", "c4", "fineweb"]
    use = {"filters": {"use": every, "c4": {"bad_words": "x"}}, "decontaminate": {"paths": ["x"]}}
    corpus = CorpusConfig.model_validate(use)
    tested = {rule for _, rule, _, _ in CASES} | {f"gopher: top {n}-gram" for n in (2, 3, 4)}
    tested |= {f"gopher: duplicate {n}-grams" for n in (5, 6, 7, 8, 9, 10)}
    tested |= {"url: blocked", "c4: bad words", "contaminated", "too short", "too long"}
    assert {rule.name for rule in rules(corpus.filters, corpus.decontaminate)} == tested


def test_prose_passes_every_filter_together() -> None:
    every = ["url", "language", "gopher_repetition", "gopher_quality", "c4", "fineweb"]
    assert verdict(PROSE, every, address="http://a.test/x") == ""


def test_the_language_has_to_be_sure_enough() -> None:
    assert verdict(PROSE, ["language"], language={"threshold": 1.0}) == "language"
    assert verdict(PROSE, ["language"], language={"threshold": 0.5}) == ""


def test_a_threshold_of_null_switches_its_rule_off() -> None:
    assert verdict("tiny text", ["gopher_quality"]) == "gopher: too few words"
    bounds = {"min_words": None, "min_stop_words": None}
    assert verdict("tiny text", ["gopher_quality"], gopher_quality=bounds) == ""


def test_the_first_filter_of_the_list_rejects() -> None:
    bad = "kurz und schlecht #"
    assert verdict(bad, ["gopher_quality", "language"]).startswith("gopher")
    assert verdict(bad, ["language", "gopher_quality"]) == "language"


def test_signals_do_not_depend_on_thresholds() -> None:
    for filters in (
        {"gopher_quality": {"min_words": 7}},
        {"c4": {"min_sentences": 9}},
        {"min_characters": 3},
    ):
        use = {"use": ["gopher_quality", "c4"]}
        changed = CorpusConfig.model_validate({"filters": use | filters})
        assert tag_settings(changed) == tag_settings(CorpusConfig.model_validate({"filters": use}))
    changed = CorpusConfig.model_validate({"filters": use | {"c4": {"min_line_words": 9}}})
    assert tag_settings(changed) != tag_settings(CorpusConfig.model_validate({"filters": use}))
