"""BART's denoising (Lewis et al. 2020, section 2.2): text is damaged, the decoder restores the original.

Each kind of noise is a function from ragged rows to ragged rows, so they compose in any order; BART's own
choice is sentence permutation, then infilling of 30 % of the words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.vocabulary import MASK as MASK_PIECE
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import DataConfig, NoiseKind
from pipeline.objectives.batches import Batch
from pipeline.objectives.draws import Words, halves, uniform, words
from pipeline.objectives.objective import MakeBatch, Objective, Shape
from pipeline.objectives.rows import entries, picked
from pipeline.objectives.samples import Samples
from pipeline.objectives.special import SpecialTokens

MASK, DELETE, SPANS, PLACES, ORDER, OFFSET = range(60, 66)  # what a number is drawn for


class Denoising(Objective):
    """BART's objective: the text as it was before it was damaged."""

    needs = ("mask",)
    blank = MASK_PIECE
    rewrites = True

    def shape(self, data: DataConfig) -> Shape:
        """Input and target have an `<eos>` behind the text."""
        length = data.sequence_length
        return Shape(length - 1, length, length)

    def make_batch(self, data: DataConfig, special: SpecialTokens) -> MakeBatch:
        """`denoising` with the recipe's noises."""
        del data
        noise = NoiseSettings(self.settings.density, self.settings.mean_span)
        return partial(denoising, special=special, noises=self.settings.noises, noise=noise)

    def asked(
        self, vocabulary: Vocabulary, before: Sequence[int], answer: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """What is missing behind the text is the end of the text that is restored.

        The text before it is part of what is said, and as likely whatever the answer.
        """
        read = self.framed(vocabulary, [*before, vocabulary.id_of(self.blank)])
        return read, [*before, *answer, vocabulary.eos]

    def describe(self) -> str:
        """How much is damaged, by what, and in what spans."""
        settings = self.settings
        share = f"{settings.kind}: {100 * settings.density:g} % of the tokens or words damaged"
        return f"{share} by {' and '.join(settings.noises)}, in spans of {settings.mean_span:g} on average"

    def decoder_start(self, vocabulary: Vocabulary) -> int:
        """BART's decoder starts with `<eos>`."""
        return vocabulary.eos

    def begins(self, vocabulary: Vocabulary) -> tuple[int, ...]:
        """What is forced, or BART's <s>, with which it rewrites texts."""
        before = tuple(vocabulary.frame[0]) if vocabulary.frame else ()
        return super().begins(vocabulary) or before


@dataclass(frozen=True)
class Rows:
    """Rows of different lengths: `tokens` [B, W], of which the first `lengths` [B] of each row count."""

    tokens: NDArray[Any]
    lengths: NDArray[np.int64]

    @cached_property
    def real(self) -> NDArray[np.bool_]:
        """[B, W] which positions count."""
        real: NDArray[np.bool_] = np.arange(self.tokens.shape[1]) < self.lengths[:, None]
        return real

    @property
    def whole(self) -> bool:
        """Whether all positions count, as in nearly all batches."""
        return bool(self.lengths.min(initial=self.tokens.shape[1]) == self.tokens.shape[1])


@dataclass(frozen=True)
class NoiseSettings:
    """Settings of the noise: the share of tokens or words it takes, the mean of Poisson span lengths."""

    density: float = 0.3
    mean_span: float = 3.0


def denoising(
    samples: Samples, special: SpecialTokens, noises: Sequence[NoiseKind], noise: NoiseSettings
) -> Batch:
    """Batches for an encoder-decoder, all [B, W + 1].

    With `<eos>` = 3, `<mask>` = 6 and 11 12 infilled, the sample 10 11 12 13 gives

        encoder_tokens  10  6 13  3 <pad>
        tokens           3 10 11 12 13
        targets         10 11 12 13  3

    Infilling can make a sample longer where it inserts more masks than it takes words; what then goes beyond
    W is cut off the input, never off the target.
    """
    original = rows = Rows(samples.tokens, samples.lengths)
    for kind in noises:
        rows = NOISES[kind](rows, samples.keys, special, noise)
    width = samples.width
    lengths = np.minimum(rows.lengths, width)
    return {
        "encoder_tokens": ended(replace(rows, lengths=lengths), width, special),
        "encoder_segments": (np.arange(width + 1) <= lengths[:, None]).astype(np.int32),
        "tokens": _started(original, special),
        "targets": ended(original, width, special),
        "weights": _weights(original),
    }


def ended(rows: Rows, width: int, special: SpecialTokens) -> NDArray[np.int64]:
    """[B, width + 1] each row with `<eos>` behind it, then padding."""
    tokens = np.full((len(rows.tokens), width + 1), special.pad, np.int64)
    kept = min(width, rows.tokens.shape[1])
    text = rows.tokens[:, :kept]
    tokens[:, :kept] = text if rows.whole else np.where(rows.real[:, :kept], text, special.pad)
    tokens[np.arange(len(tokens)), rows.lengths] = special.eos
    return tokens


def _started(rows: Rows, special: SpecialTokens) -> NDArray[np.int64]:
    count, width = rows.tokens.shape
    tokens = np.empty((count, width + 1), np.int64)
    tokens[:, 1:] = rows.tokens if rows.whole else np.where(rows.real, rows.tokens, special.pad)
    tokens[:, 0] = special.eos
    return tokens


def _weights(rows: Rows) -> NDArray[np.float32]:
    count, width = rows.tokens.shape
    if rows.whole and width:
        return np.ones((count, width + 1), np.float32)
    places, lengths = np.arange(width + 1), rows.lengths[:, None]
    return ((places <= lengths) & (lengths > 0)).astype(np.float32)


def mask_tokens(rows: Rows, keys: Words, special: SpecialTokens, noise: NoiseSettings) -> Rows:
    """Each token becomes <mask> with probability `density`; separators of documents stay."""
    drawn = uniform(keys, rows.tokens.shape[1], MASK) < noise.density
    hidden = drawn & (rows.tokens != special.eos)
    return replace(rows, tokens=np.where(hidden, special.mask, rows.tokens))


def delete_tokens(rows: Rows, keys: Words, special: SpecialTokens, noise: NoiseSettings) -> Rows:
    """Each token disappears with probability `density`; the model must find where."""
    drawn = uniform(keys, rows.tokens.shape[1], DELETE) < noise.density
    return keep(rows, ~(drawn & (rows.tokens != special.eos)))


def keep(rows: Rows, kept: NDArray[np.bool_]) -> Rows:
    """The kept positions of each row, moved together."""
    kept = kept & rows.real
    front = np.argsort(~kept, axis=1, kind="stable")
    return Rows(picked(rows.tokens, front), kept.sum(axis=1))


def permute_sentences(rows: Rows, keys: Words, special: SpecialTokens, noise: NoiseSettings) -> Rows:
    """The sentences of each row in random order."""
    del noise
    width = rows.tokens.shape[1]
    ends = special.ends_sentence(rows.tokens)
    number: NDArray[np.int64] = np.cumsum(ends, axis=1) - ends
    each = words(keys, int(number.max(initial=0)) + 1, ORDER) >> np.uint64(32)
    drawn = picked(each, number)
    if not rows.whole:
        drawn[~rows.real] = np.uint64(1) << np.uint64(32)
    drawn = (drawn << np.uint64(24)) | np.arange(width, dtype=np.uint64)
    drawn.sort(axis=1)
    order = (drawn & np.uint64((1 << 24) - 1)).astype(np.int64)
    return replace(rows, tokens=picked(rows.tokens, order))


def rotate(rows: Rows, keys: Words, special: SpecialTokens, noise: NoiseSettings) -> Rows:
    """Each row starts at a token drawn uniformly and wraps around; the model must find the start."""
    del special, noise
    lengths = np.maximum(rows.lengths, 1)[:, None]
    offsets = (uniform(keys, 1, OFFSET) * lengths).astype(np.int64)
    places = np.arange(rows.tokens.shape[1])
    order = np.where(rows.real, (places + offsets) % lengths, places)
    return replace(rows, tokens=picked(rows.tokens, order))


def infill(rows: Rows, keys: Words, special: SpecialTokens, noise: NoiseSettings) -> Rows:
    """Spans of whole words, `density` of all words, become one <mask> each; a span of no words inserts one.

    Lengths are drawn from a Poisson distribution until their sum reaches the number of words to hide, the
    last is shortened to it, and the spans are laid between the other words, every arrangement equally likely.
    """
    firsts = _word_firsts(rows, special)
    counts = firsts.sum(axis=1)
    hidden = np.rint(noise.density * counts).astype(np.int64)
    lengths, spans = poisson_spans(keys, hidden, noise.mean_span)
    # Items of each row: the words that stay and the spans, in order; the `spans` smallest draws are spans.
    # Of 6 words 3 are hidden, in spans of lengths 2 1, so there are 6 - 3 + 2 = 5 items. Where the draws of
    # items 1 and 3 are the smallest:
    #   is_span  0 1 0 1 0     sizes  1 2 1 1 1     starts  0 1 3 4 5     words, of which 1 2 and 4 go
    items = counts - hidden + spans
    low = np.uint32((1 << (rows.tokens.shape[1] + most_spans(hidden)).bit_length()) - 1)
    width = int(items.max(initial=0)) + 1
    drawn = halves(keys, width, PLACES)  # their low bits become the places, so no two draws are equal
    drawn = (drawn & ~low) | np.arange(width, dtype=np.uint32)
    drawn[np.arange(width) >= items[:, None]] |= ~low
    drawn.sort(axis=1)
    most = int(spans.max(initial=0))
    chosen = np.arange(most) < spans[:, None]
    is_span = np.zeros(drawn.shape, bool)
    span_row = np.repeat(np.arange(len(spans)), spans)
    is_span[span_row, (drawn[:, :most] & low)[chosen]] = True
    sizes = np.ones(is_span.shape, np.int32)
    flat = np.flatnonzero(is_span)
    sizes.reshape(-1)[flat] = lengths[span_row, _rank(span_row, spans)]
    starts = np.cumsum(sizes, axis=1, dtype=np.int32) - sizes
    return _put_masks(rows, firsts, is_span, starts, sizes, special)


def poisson_spans(
    keys: Words, totals: NDArray[np.int64], mean: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Span lengths [B, K] that sum to `totals` [B], and how many spans [B] of each row count."""
    most = most_spans(totals)
    for count in (most // 4, most):  # the first of few draws are the first of many
        ends = np.cumsum(poisson(uniform(keys, count, SPANS), mean), axis=1)
        if (ends[:, -1] >= totals).all():
            break
    spans = np.where(totals > 0, (ends < totals[:, None]).sum(axis=1) + 1, 0)
    assert (spans <= ends.shape[1]).all(), "Poisson lengths did not add up; the mean span is far below one"
    capped = np.minimum(ends, totals[:, None])
    return np.diff(capped, axis=1, prepend=0), spans


def most_spans(totals: NDArray[np.int64]) -> int:
    """K, so many lengths that they add up to the totals, short of a mean far below one."""
    return 2 * int(totals.max(initial=0)) + 8


def poisson(drawn: NDArray[np.float64], mean: float) -> NDArray[np.int64]:
    """Poisson numbers from uniform ones, by the inverse of the distribution function."""
    longest = int(mean + 12 * mean**0.5 + 12)
    logs = np.arange(longest) * np.log(mean) - mean - np.cumsum(np.log(np.maximum(np.arange(longest), 1)))
    return np.searchsorted(np.cumsum(np.exp(logs)), drawn, side="right").astype(np.int64)


def _word_firsts(rows: Rows, special: SpecialTokens) -> NDArray[np.bool_]:
    """[B, W] where a word starts; separators of documents are none and end the word before them."""
    separators = rows.tokens == special.eos
    firsts = special.starts_word(rows.tokens) & ~separators
    return firsts if rows.whole else firsts & rows.real


def _put_masks(
    rows: Rows,
    firsts: NDArray[np.bool_],
    is_span: NDArray[np.bool_],
    starts: NDArray[np.int32],
    sizes: NDArray[np.int32],
    special: SpecialTokens,
) -> Rows:
    """Take the words of every span out and put one mask there. `starts` and `sizes` count words."""
    count, width = rows.tokens.shape
    # The first word is number 1, separators before it are number 0.
    word = np.cumsum(firsts, axis=1, dtype=np.int32)
    flat, span_row = entries(is_span)
    begin = 1 + starts.reshape(-1)[flat]
    end = begin + sizes.reshape(-1)[flat]

    def running(row: NDArray[np.int64], number: NDArray[Any]) -> NDArray[np.int32]:
        """[B, W + 3] how many of the (row, word number) pairs have this word number or a smaller one."""
        counts = np.bincount(row * (width + 3) + number, minlength=count * (width + 3))
        return np.cumsum(counts.reshape(count, width + 3), axis=1, dtype=np.int32)

    begun = running(span_row, begin)
    hidden = begun > running(span_row, end)
    gone = picked(hidden, word) & (rows.tokens != special.eos)
    kept = ~gone if rows.whole else rows.real & ~gone
    place, row = entries(kept)
    number = word.reshape(-1)[place]
    sizes_left = kept.sum(axis=1)
    lengths = sizes_left + is_span.sum(axis=1)
    out = np.zeros((count, max(width, int(lengths.max(initial=0)))), rows.tokens.dtype)
    across = row * out.shape[1] + _rank(row, sizes_left) + begun.reshape(-1)[row * (width + 3) + number]
    out.reshape(-1)[across] = rows.tokens.reshape(-1)[place]
    # A mask stands behind the kept tokens of the words before its span and behind the masks of earlier spans.
    kept_words = running(row, number)
    earlier_masks = _rank(span_row, is_span.sum(axis=1))
    out[span_row, kept_words[span_row, begin - 1] + earlier_masks] = special.mask
    return Rows(out, lengths)


def _rank(row: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each entry among those of its row, of which there are `counts` [B]; `row` is ascending."""
    return np.arange(len(row)) - (np.cumsum(counts) - counts)[row]


NOISES: dict[NoiseKind, Callable[[Rows, Words, SpecialTokens, NoiseSettings], Rows]] = {
    "mask": mask_tokens,
    "delete": delete_tokens,
    "infill": infill,
    "permute_sentences": permute_sentences,
    "rotate": rotate,
}
