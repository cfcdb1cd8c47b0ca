"""Masked LM: literal example, proportions within binomial bounds, words and spans stay together."""

import numpy as np
import pytest

from pipeline.objectives.borders import borders
from pipeline.objectives.draws import combine, uniform
from pipeline.objectives.masked import (
    candidate_spans,
    first_of_word,
    hide_spans,
    hide_words,
    masked_lm,
    placed_spans,
    span_lengths,
)
from pipeline.objectives.sentences import paired, single
from tests.pipeline.objectives.rows import CLS, EOS, FIRST, MASK, PAD, SEP, random_samples, samples, special


def within(successes: int, trials: int, probability: float) -> bool:
    """Whether a count is within 5 standard deviations of the binomial mean."""
    return abs(successes - trials * probability) < 5 * np.sqrt(trials * probability * (1 - probability))


def test_layout() -> None:
    arranged = single(samples([[200, 3, 201], [202]]), special())
    assert arranged.tokens.tolist() == [[CLS, 200, EOS, 201, SEP], [CLS, 202, SEP, PAD, PAD]]
    assert arranged.ordinary.tolist() == [
        [False, True, False, True, False],
        [False, True, False, False, False],
    ]


def test_segments_tell_padding_and_are_left_out_where_there_is_none() -> None:
    short, full = samples([[200, 3, 201], [202]]), samples([[200, 201], [202, 203]])
    batch = masked_lm(single(short, special()), short.keys, special())
    assert batch["segments"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert batch["segments"].dtype == np.int32
    assert "segments" not in masked_lm(single(full, special()), full.keys, special())
    pair = paired(samples([[200, 201, 202], [203, 204]]), special(), "sentence_order")
    assert pair.extra["segments"].tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]]


def test_targets_are_the_text_and_only_hidden_tokens_weigh() -> None:
    given = random_samples(8, 30)
    arranged = single(given, special())
    batch = masked_lm(arranged, given.keys, special())
    np.testing.assert_array_equal(batch["targets"], arranged.tokens)
    shown = batch["weights"] == 0
    np.testing.assert_array_equal(batch["tokens"][shown], batch["targets"][shown])
    assert not shown.all()


@pytest.mark.parametrize("masking", ["token", "whole_word"])
def test_berts_proportions(masking: str) -> None:
    given = random_samples(2000, 126, eos=0.02)
    arranged = single(given, special())
    batch = masked_lm(arranged, given.keys, special(), masking)
    hidden = batch["weights"] > 0
    assert not (hidden & ~arranged.ordinary).any()
    # Whole words are drawn together, so the number of independent draws is that of the words.
    heads = first_of_word(arranged.ordinary, special().starts_word(arranged.tokens))
    if masking == "whole_word":
        is_head = arranged.ordinary & (heads == np.arange(128))
        assert within(int((hidden & is_head).sum()), int(is_head.sum()), 0.15)
    else:
        assert within(int(hidden.sum()), int(arranged.ordinary.sum()), 0.15)
    tokens, targets, count = batch["tokens"][hidden], batch["targets"][hidden], int(hidden.sum())
    changed = (tokens != targets) & (tokens != MASK)
    assert within(int((tokens == MASK).sum()), count, 0.8)
    # A random token is the right one once in as many times as there are ordinary tokens.
    assert within(int(changed.sum()), count, 0.1 * (1 - 1 / len(special().ordinary)))
    assert (tokens[changed] >= FIRST).all()


def test_whole_words_are_hidden_whole() -> None:
    given = random_samples(200, 100)
    arranged = single(given, special())
    starts = special().starts_word(arranged.tokens)
    hidden, _ = hide_words(arranged.ordinary, starts, given.keys, 0.15)
    heads = first_of_word(arranged.ordinary, starts)
    np.testing.assert_array_equal(hidden, np.take_along_axis(hidden, heads, axis=1))
    assert hidden.any()


def test_first_of_word_literal_example() -> None:
    """A word may begin without a word start behind a reserved token."""
    ordinary = np.array([[False, True, True, True, False, True, True]])
    starts = np.array([[True, True, False, True, True, False, False]])
    assert first_of_word(ordinary, starts).tolist() == [[0, 1, 1, 3, 4, 5, 5]]


def test_spans_have_spanberts_lengths_and_the_budget_in_the_mean() -> None:
    drawn = span_lengths(uniform(combine(1, np.arange(1000)), 100)).ravel()
    chances = 0.2 * 0.8 ** np.arange(10)
    chances /= chances.sum()
    for length, chance in enumerate(chances, start=1):
        assert within(int((drawn == length).sum()), drawn.size, chance)
    given = random_samples(3000, 126)
    arranged = single(given, special())
    starts = special().starts_word(arranged.tokens)
    hidden, groups = hide_spans(arranged.ordinary, starts, given.keys, 0.15)
    budget = 0.15 * arranged.ordinary.sum(axis=1)
    off = hidden.sum(axis=1) - budget
    # The last span is kept with the chance that makes the mean right; its spread is a span's length.
    assert abs(off.mean()) < 5 * off.std() / np.sqrt(len(off))
    assert not (hidden & ~arranged.ordinary).any()
    heads = first_of_word(arranged.ordinary, starts)
    np.testing.assert_array_equal(hidden, np.take_along_axis(hidden, heads, axis=1))
    assert groups is not None
    spans = sum(len(np.unique(groups[row][hidden[row]])) for row in range(len(hidden)))
    assert 2 < hidden.sum() / 4 / spans < 3.8  # words per span: the mean of 3.8 less those that do not fit


@pytest.mark.parametrize("density", [0.02, 0.15, 0.6])
def test_spans_of_few_candidates_are_those_of_many(density: float) -> None:
    """Candidates are drawn as they are needed, and which ones were drawn beyond them changes nothing."""
    given = random_samples(200, 96)
    arranged = single(given, special())
    starts, ordinary = special().starts_word(arranged.tokens), arranged.ordinary
    budget = density * ordinary.sum(axis=1)
    many = candidate_spans(ordinary, starts, given.keys, 4 + 2 * int(budget.max()))
    expected = placed_spans(many, budget, given.keys, ordinary.shape[1])[:2]
    for found, wanted in zip(hide_spans(ordinary, starts, given.keys, density), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_span_is_replaced_alike() -> None:
    given = random_samples(300, 126, eos=0.0)
    arranged = single(given, special())
    starts = special().starts_word(arranged.tokens)
    hidden, groups = hide_spans(arranged.ordinary, starts, given.keys, 0.15)
    batch = masked_lm(arranged, given.keys, special(), "span")
    assert groups is not None
    masked = (batch["tokens"] == MASK) & hidden
    for row in range(len(given)):
        for group in np.unique(groups[row][hidden[row]]):
            span = hidden[row] & (groups[row] == group)
            assert masked[row][span].all() or not masked[row][span].any()


def test_next_sentence_literal_layout() -> None:
    given = random_samples(400, 20, eos=0.0)
    partners = random_samples(400, 20, seed=9, eos=0.0).tokens
    given = type(given)(
        given.tokens, given.following, given.lengths, given.keys, None, partners, np.ones(400, bool)
    )
    arranged = paired(given, special(), "next_sentence")
    labels, types = arranged.extra["next_sentence"], arranged.extra["token_types"]
    assert within(int(labels.sum()), 400, 0.5)
    for row in range(400):
        first, second = np.flatnonzero(arranged.tokens[row] == SEP)
        assert (arranged.tokens[row, 0], second) == (CLS, 22)
        assert types[row].tolist() == [0] * (first + 1) + [1] * (22 - first)
        a, b = arranged.tokens[row, 1:first], arranged.tokens[row, first + 1 : second]
        cut = first - 1
        other = partners if labels[row] else given.tokens
        assert a.tolist() == given.tokens[row, :cut].tolist()
        assert b.tolist() == other[row, cut:].tolist()
        ends = special().sentence_end[given.tokens[row, :-1]]
        assert not ends.any() or ends[cut - 1]


def test_sentence_order_swaps_half_of_the_pairs() -> None:
    given = random_samples(400, 20, eos=0.0)
    arranged = paired(given, special(), "sentence_order")
    labels = arranged.extra["next_sentence"]
    assert within(int(labels.sum()), 400, 0.5)
    for row in range(400):
        first, second = np.flatnonzero(arranged.tokens[row] == SEP)
        a = arranged.tokens[row, 1:first].tolist()
        b = arranged.tokens[row, first + 1 : second].tolist()
        assert (b + a if labels[row] else a + b) == given.tokens[row].tolist()


def test_a_sample_without_a_partner_keeps_its_text() -> None:
    given = random_samples(50, 12)
    given = type(given)(
        given.tokens, given.following, given.lengths, given.keys, None, given.tokens, np.zeros(50, bool)
    )
    assert not paired(given, special(), "next_sentence").extra["next_sentence"].any()


def test_short_pairs_end_where_the_text_ends() -> None:
    arranged = paired(samples([[200, 201, 202], [200], []], width=6), special(), "sentence_order")
    assert arranged.extra["next_sentence"].tolist() == [0, 0, 0]
    assert arranged.extra["next_sentence_weights"].tolist() == [1, 0, 0]
    assert [(row == SEP).sum() for row in arranged.tokens[:1]] == [2]
    kept = arranged.tokens[0][arranged.ordinary[0]]
    assert kept.tolist() == [200, 201, 202]
    assert not arranged.ordinary[2].any()


def test_borders_are_those_of_runs_of_hidden_tokens() -> None:
    hidden = np.array([[0, 1, 1, 0, 1, 0], [0, 0, 1, 0, 0, 0]], bool)
    found = borders(hidden, np.arange(12).reshape(2, 6))
    assert found["left"].tolist() == [[0, 0, 0, 0, 3, 0], [0, 0, 1, 0, 0, 0]]
    assert found["right"].tolist() == [[0, 3, 3, 0, 5, 0], [0, 0, 3, 0, 0, 0]]
    assert found["places"].tolist() == [[-1, 0, 1, -1, 0, -1], [-1, -1, 0, -1, -1, -1]]
    assert found["boundary_weights"].tolist() == hidden.astype(float).tolist()
    long = borders(np.arange(20)[None] % 19 > 0, np.zeros((1, 20), np.int64))
    assert long["boundary_weights"].sum() == 15
    assert long["places"].max() == 14
