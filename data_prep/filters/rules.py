"""The rules: a signal, a bound, and the name under which a rejected document is kept.

A rule is data. Its signal is computed once and stored as a column; its bound comes from the recipe and is
compared afterwards, so that a changed threshold reads the columns alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_prep.config import DecontaminateConfig
from data_prep.filters.settings import FilterConfig


@dataclass(frozen=True)
class Rule:
    """A document is rejected where `signal` is below `least` or above `most`."""

    name: str
    signal: str
    least: float | None = None
    most: float | None = None

    def rejects(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the values break the rule."""
        rejected = np.zeros(len(values), bool)
        if self.least is not None:
            rejected |= values < self.least
        if self.most is not None:
            rejected |= values > self.most
        return rejected


def rules(config: FilterConfig, decontaminate: DecontaminateConfig) -> list[Rule]:
    """The recipe's rules in the order in which they reject; those without a bound are left out."""
    groups: dict[str, Callable[[], Iterable[Rule]]] = {
        "url": lambda: [Rule("url: blocked", "url_blocked", most=0)],
        "language": lambda: [Rule("language", "language_kept", least=config.language.threshold)],
        "gopher_quality": lambda: _gopher_quality(config),
        "gopher_repetition": lambda: _gopher_repetition(config),
        "c4": lambda: _c4(config),
        "fineweb": lambda: _fineweb(config),
    }
    found = [rule for name in config.use for rule in groups[name]()]
    if decontaminate.paths:
        found.append(Rule("contaminated", "contaminated_ngrams", most=decontaminate.most))
    found.append(Rule("too short", "characters", least=config.min_characters))
    found.append(Rule("too long", "characters", most=config.max_characters))
    return [rule for rule in found if rule.least is not None or rule.most is not None]


def _gopher_quality(config: FilterConfig) -> Iterable[Rule]:
    bounds = config.gopher_quality
    yield Rule("gopher: too few words", "gopher_words", least=bounds.min_words)
    yield Rule("gopher: too many words", "gopher_words", most=bounds.max_words)
    yield Rule("gopher: words too short", "gopher_mean_word_length", least=bounds.min_mean_word_length)
    yield Rule("gopher: words too long", "gopher_mean_word_length", most=bounds.max_mean_word_length)
    yield Rule("gopher: hash signs", "gopher_hash_ratio", most=bounds.max_hash_ratio)
    yield Rule("gopher: ellipses", "gopher_ellipsis_ratio", most=bounds.max_ellipsis_ratio)
    yield Rule("gopher: bullet lines", "gopher_bullet_lines", most=bounds.max_bullet_lines)
    yield Rule("gopher: ellipsis lines", "gopher_ellipsis_lines", most=bounds.max_ellipsis_lines)
    yield Rule("gopher: words without letters", "gopher_alphabetic_words", least=bounds.min_alphabetic_words)
    yield Rule("gopher: no stop words", "gopher_stop_words", least=bounds.min_stop_words)


def _gopher_repetition(config: FilterConfig) -> Iterable[Rule]:
    bounds = config.gopher_repetition
    for signal, most in (
        ("duplicate_paragraphs", bounds.max_duplicate_paragraphs),
        ("duplicate_paragraph_characters", bounds.max_duplicate_paragraph_characters),
        ("duplicate_lines", bounds.max_duplicate_lines),
        ("duplicate_line_characters", bounds.max_duplicate_line_characters),
    ):
        yield Rule(f"gopher: {signal.replace('_', ' ')}", f"gopher_{signal}", most=most)
    for n, most in bounds.max_top_ngrams.items():
        yield Rule(f"gopher: top {n}-gram", f"gopher_top_{n}_gram", most=most)
    for n, most in bounds.max_duplicate_ngrams.items():
        yield Rule(f"gopher: duplicate {n}-grams", f"gopher_duplicate_{n}_grams", most=most)


def _c4(config: FilterConfig) -> Iterable[Rule]:
    bounds = config.c4
    yield Rule("c4: lorem ipsum", "c4_lorem_ipsum", most=bounds.max_lorem_ipsum)
    yield Rule("c4: curly bracket", "c4_curly_brackets", most=bounds.max_curly_brackets)
    yield Rule("c4: bad words", "c4_bad_words", most=bounds.max_bad_words)
    yield Rule("c4: too few sentences", "c4_sentences", least=bounds.min_sentences)


def _fineweb(config: FilterConfig) -> Iterable[Rule]:
    bounds = config.fineweb
    yield Rule("fineweb: punctuated lines", "fineweb_punctuated_lines", least=bounds.min_punctuated_lines)
    yield Rule("fineweb: short lines", "fineweb_short_lines", most=bounds.max_short_lines)
    characters = bounds.max_duplicate_line_characters
    yield Rule("fineweb: duplicate lines", "fineweb_duplicate_line_characters", most=characters)
    yield Rule("fineweb: line ends", "fineweb_newline_ratio", most=bounds.max_newline_ratio)


TOO_SLOW = "took too long"
"""The reason of a document whose signals could not be had in time, which no rule can judge."""


def reasons(config: FilterConfig, decontaminate: DecontaminateConfig) -> list[str]:
    """Every name that a document may be rejected under before deduplication."""
    books = [config, *map(config.of_language, config.by_language)]
    names = (rule.name for book in books for rule in rules(book, decontaminate))
    return [TOO_SLOW, *dict.fromkeys(names)]


def judge_by_language(
    signals: pa.Table, config: FilterConfig, decontaminate: DecontaminateConfig
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """For each document the index among `reasons` under which it is rejected (-1: none), and the value."""
    names = reasons(config, decontaminate)
    verdict, value = np.full(signals.num_rows, -1, np.int16), np.zeros(signals.num_rows)
    languages = (
        signals["language"].to_numpy() if config.by_language else np.full(signals.num_rows, "", object)
    )
    for code in ("", *config.by_language):
        rows = languages == code if code else ~np.isin(languages, [*config.by_language])
        order = rules(config.of_language(code), decontaminate)
        found, values = judge(signals.filter(pa.array(rows)), order, config.language.keep)
        numbers = np.array([names.index(rule.name) for rule in order] + [-1], np.int16)
        verdict[rows], value[rows] = numbers[found], values
    slow = signals["over_time"].to_numpy()
    verdict[slow], value[slow] = names.index(TOO_SLOW), 0.0
    return verdict, value


def judge(
    signals: pa.Table, order: list[Rule], languages: list[str]
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """For each document the index of the first rule that it breaks (-1: none) and the value it has there.

    The value of the language rule is the confidence in one of `languages` (any, where it is empty), and 0
    where the language is another.
    """
    verdict = np.full(signals.num_rows, -1, np.int16)
    value = np.zeros(signals.num_rows)
    for index, rule in enumerate(order):
        if rule.signal == "language_kept":
            values = signals["language_score"].to_numpy().copy()
            if languages:
                values[~pc.is_in(signals["language"], pa.array(languages)).to_numpy()] = 0.0
        else:
            values = signals[rule.signal].to_numpy().astype(np.float64)
        hit = (verdict < 0) & rule.rejects(values)
        verdict[hit], value[hit] = index, values[hit]
    return verdict, value
