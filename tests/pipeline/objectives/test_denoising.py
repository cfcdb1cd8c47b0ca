"""BART's noise: each kind against a plain rewriting of its definition, and literal examples."""

from collections import Counter
from itertools import chain, permutations

import numpy as np
import pytest

from pipeline.objectives.denoising import (
    NOISES,
    SPANS,
    NoiseSettings,
    Rows,
    delete_tokens,
    denoising,
    infill,
    mask_tokens,
    permute_sentences,
    poisson,
    poisson_spans,
    rotate,
)
from pipeline.objectives.draws import combine, uniform
from tests.pipeline.objectives.rows import EOS, MASK, PAD, random_samples, samples, special

DAMAGE = NoiseSettings()


def as_rows(tokens: list[list[int]]) -> tuple[Rows, np.ndarray]:
    given = samples(tokens)
    return Rows(given.tokens, given.lengths), given.keys


def listed(rows: Rows) -> list[list[int]]:
    return [row[:length].tolist() for row, length in zip(rows.tokens, rows.lengths, strict=True)]


def test_batch_layout() -> None:
    batch = denoising(samples([[200, 201, 202], [203]]), special(), ["rotate"], DAMAGE)
    assert batch["targets"].tolist() == [[200, 201, 202, EOS], [203, EOS, PAD, PAD]]
    assert batch["tokens"].tolist() == [[EOS, 200, 201, 202], [EOS, 203, PAD, PAD]]
    assert batch["weights"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["encoder_segments"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["encoder_tokens"][0, 3] == EOS
    assert batch["encoder_tokens"][1].tolist() == [203, EOS, PAD, PAD]
    empty = denoising(samples([[], [200]]), special(), ["infill"], DAMAGE)
    assert empty["weights"][0].sum() == 0


def test_masking_and_deletion_take_their_share_and_nothing_else() -> None:
    given = random_samples(500, 100, eos=0.05)
    rows = Rows(given.tokens, given.lengths)
    ordinary = int((given.tokens != EOS).sum())
    masked = mask_tokens(rows, given.keys, special(), DAMAGE)
    hidden = masked.tokens == MASK
    spread = 5 * np.sqrt(ordinary * 0.3 * 0.7)
    assert abs(hidden.sum() - 0.3 * ordinary) < spread
    np.testing.assert_array_equal(masked.tokens[~hidden], given.tokens[~hidden])
    deleted = delete_tokens(rows, given.keys, special(), DAMAGE)
    assert abs((given.lengths - deleted.lengths).sum() - 0.3 * ordinary) < spread
    for before, after in zip(given.tokens.tolist(), listed(deleted), strict=True):
        rest = iter(before)
        assert all(token in rest for token in after)  # a subsequence
        assert before.count(EOS) == after.count(EOS)


def test_rotation_is_a_rotation_with_a_uniform_start() -> None:
    row = list(range(200, 210))
    rows, keys = as_rows([row] * 4000)
    starts = Counter()
    for turned in listed(rotate(rows, keys, special(), DAMAGE)):
        start = row.index(turned[0])
        assert turned == row[start:] + row[:start]
        starts[start] += 1
    assert len(starts) == 10
    assert max(abs(count - 400) for count in starts.values()) < 5 * np.sqrt(4000 * 0.1 * 0.9)


def test_sentences_are_permuted_whole_and_every_order_is_equally_likely() -> None:
    sentences = [[201, 202, 210], [203, 220], [204, 205, 206]]  # 210 and 220 end sentences
    rows, keys = as_rows([list(chain(*sentences))] * 3000)
    orders = Counter(tuple(row) for row in listed(permute_sentences(rows, keys, special(), DAMAGE)))
    assert set(orders) == {tuple(chain(*order)) for order in permutations(sentences)}
    assert max(abs(count - 500) for count in orders.values()) < 5 * np.sqrt(3000 / 6 * 5 / 6)


def test_poisson_numbers() -> None:
    drawn = poisson(uniform(combine(np.arange(100)), 1000), 3.0).ravel()
    chance = np.exp(-3.0)
    for value in range(12):
        assert abs((drawn == value).mean() - chance) < 5 * np.sqrt(chance / drawn.size)
        chance *= 3.0 / (value + 1)


def test_lengths_of_few_draws_are_those_of_many() -> None:
    """Lengths are drawn as they are needed: a long row among short ones changes none of theirs."""
    keys, totals = combine(np.arange(50)), np.arange(50) % 9
    lengths, spans = poisson_spans(keys, totals, 3.0)
    drawn = poisson(uniform(keys, 40, SPANS), 3.0)
    for row, (own, count, total) in enumerate(zip(lengths, spans, totals, strict=True)):
        ends = np.minimum(drawn[row].cumsum(), total)
        np.testing.assert_array_equal(own[:count], np.diff(ends, prepend=0)[:count])
        assert own[:count].sum() == total
    far = poisson_spans(np.append(keys, keys[:1]), np.append(totals, 90), 3.0)[0]
    np.testing.assert_array_equal(far[:50, : lengths.shape[1]], lengths)


def test_poisson_spans_add_up() -> None:
    totals = np.array([0, 1, 7, 30])
    lengths, spans = poisson_spans(combine(np.arange(4)), totals, 3.0)
    assert lengths.sum(axis=1).tolist() == totals.tolist()
    for row, count in zip(lengths, spans, strict=True):
        assert not row[count:].any()
    assert spans[0] == 0


def words_of(row: list[int]) -> list[tuple[int, ...]]:
    """The words of a row: a token divisible by 4 starts one, a separator ends one and is none itself."""
    words: list[list[int]] = [[]]
    for token in row:
        if token == EOS or token % 4 == 0:
            words.append([])
        if token != EOS:
            words[-1].append(token)
    return [tuple(word) for word in words if word]


def test_infilling_replaces_whole_words_and_keeps_the_others_in_order() -> None:
    rng = np.random.default_rng(5)  # every token once in a row, so that a word is found where it is
    given = samples([[EOS, *rng.permutation(np.arange(120, 1000))[:59].tolist()] for _ in range(300)])
    filled = listed(infill(Rows(given.tokens, given.lengths), given.keys, special(), DAMAGE))
    masks = 0
    for before, after in zip(given.tokens.tolist(), filled, strict=True):
        words = words_of(before)
        rest, count = [token for token in after if token not in (MASK, EOS)], 0
        for word in words:
            if rest and tuple(rest[: len(word)]) == word:
                rest, count = rest[len(word) :], count + 1
        assert not rest  # the kept words are a subsequence of the words, 70 % of them
        assert count == len(words) - round(0.3 * len(words))
        assert after.count(EOS) == before.count(EOS)
        masks += after.count(MASK)
    # Spans have Poisson(3) lengths, so about a third as many masks as hidden words, zero lengths included.
    hidden = sum(round(0.3 * len(words_of(row))) for row in given.tokens.tolist())
    assert 0.3 * hidden < masks < 0.5 * hidden


def test_infilling_puts_masks_uniformly() -> None:
    """Ten words of one token each; a third is hidden by one span of three or more spans."""
    row = list(range(200, 240, 4))
    rows, keys = as_rows([row] * 6000)
    filled = listed(infill(rows, keys, special(), NoiseSettings(0.1, 1000.0)))  # one span of one word
    where = Counter(after.index(MASK) for after in filled)
    assert all(len(after) == 10 for after in filled)
    assert len(where) == 10
    assert max(abs(count - 600) for count in where.values()) < 5 * np.sqrt(6000 * 0.09)


@pytest.mark.parametrize("kinds", [list(NOISES), ["delete", "infill"], ["rotate", "permute_sentences"]])
def test_noises_compose_and_never_touch_the_target(kinds: list[str]) -> None:
    given = random_samples(64, 50)
    batch = denoising(given, special(), kinds, DAMAGE)
    np.testing.assert_array_equal(batch["targets"][:, :-1], given.tokens)
    assert (batch["targets"][:, -1] == EOS).all()
    segments = batch["encoder_segments"]
    assert (batch["encoder_tokens"][segments == 0] == PAD).all()
    last = segments.sum(axis=1) - 1
    assert (batch["encoder_tokens"][np.arange(64), last] == EOS).all()
