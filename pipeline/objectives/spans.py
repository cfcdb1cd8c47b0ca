"""T5's span corruption (Raffel et al. 2020, section 3.1.4): lengths and layout of the published code.

Of n raw tokens, noise = round(density n) are dropped in round(noise / mean span) spans. In the input each
noise span becomes one sentinel, in the target each non-noise span does; both end in `<eos>`. A sample
starts with text and ends with noise, so the target begins with a sentinel and has no closing one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import DataConfig
from pipeline.objectives.batches import Batch
from pipeline.objectives.draws import Words, halves
from pipeline.objectives.objective import MakeBatch, Objective, Shape
from pipeline.objectives.samples import Samples
from pipeline.objectives.special import SpecialTokens

NOISE, TEXT = 30, 31  # what a number is drawn for


class SpanCorruption(Objective):
    """T5's objective: what stood where the input has sentinels."""

    def lengths(self, data: DataConfig) -> "SpanLengths":
        """The lengths whose input fills the sequence length."""
        settings = self.settings
        return longest_raw(
            data.sequence_length, settings.density, settings.mean_span, settings.closing_sentinel
        )

    def shape(self, data: DataConfig) -> Shape:
        """The noise and its sentinels are the decoder's."""
        lengths = self.lengths(data)
        return Shape(lengths.raw, lengths.inputs, lengths.targets)

    def make_batch(self, data: DataConfig, special: SpecialTokens) -> MakeBatch:
        """`span_corruption`; `InputError` where the vocabulary has too few sentinels."""
        lengths = self.lengths(data)
        if lengths.sentinels > len(special.sentinels):
            raise InputError(
                f"data.sequence_length {data.sequence_length} needs {lengths.sentinels} sentinels where the "
                f"tokenizer has {len(special.sentinels)}; shorten it or raise objective.mean_span"
            )
        return partial(span_corruption, special=special, lengths=lengths)

    def asked(
        self, vocabulary: Vocabulary, before: Sequence[int], answer: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """The answer is a span missing behind the text."""
        sentinel = vocabulary.id_of(self.blank)
        return self.framed(vocabulary, [*before, sentinel]), [sentinel, *answer, vocabulary.eos]

    def describe(self) -> str:
        """How much is hidden, and in what spans."""
        settings = self.settings
        share = f"{settings.kind}: {100 * settings.density:g} % of the tokens hidden"
        return f"{share}, in spans of {settings.mean_span:g} on average"


@dataclass(frozen=True)
class SpanLengths:
    """How many of `raw` tokens are noise, in how many spans, and what lengths follow from it."""

    raw: int
    density: float = 0.15
    mean_span: float = 3.0
    closing: bool = False

    @cached_property
    def noise(self) -> int:
        """Tokens that are dropped; at least one is, and one is not. Halves round to even, as in T5."""
        return min(max(round(self.raw * self.density), 1), self.raw - 1)

    @cached_property
    def spans(self) -> int:
        """Spans that they form."""
        return min(max(round(self.noise / self.mean_span), 1), self.noise, self.raw - self.noise)

    @property
    def sentinels(self) -> int:
        """Different sentinels in a sample."""
        return self.spans + self.closing

    @property
    def inputs(self) -> int:
        """Length of the input: the text, a sentinel for every span, `<eos>`."""
        return self.raw - self.noise + self.spans + 1

    @property
    def targets(self) -> int:
        """Length of the target: the noise, a sentinel for every span, `<eos>`."""
        return self.noise + self.sentinels + 1


def longest_raw(input_length: int, density: float, mean_span: float, closing: bool = False) -> SpanLengths:
    """The lengths with the most raw tokens whose input fits `input_length`, which must be 4 or more."""
    lengths = SpanLengths(2, density, mean_span, closing)
    assert lengths.inputs <= input_length
    while (longer := SpanLengths(lengths.raw + 1, density, mean_span, closing)).inputs <= input_length:
        lengths = longer
    return lengths


def span_corruption(samples: Samples, special: SpecialTokens, lengths: SpanLengths) -> Batch:
    """Batches for an encoder-decoder: input [B, lengths.inputs], target [B, lengths.targets].

    With sentinels X = 99, Y = 98, `<eos>` = 3 and `<pad>` = 0, the sample 10 11 12 13 14 15 whose noise is
    12 and 14 15 gives

        encoder_tokens  10 11 99 13 98  3
        targets         99 12 98 14 15  3     (a closing sentinel would stand before the 3)
        tokens           0 99 12 98 14 15     the targets shifted right behind a `<pad>`, T5's start
    """
    batch = _empty(len(samples), special.pad, lengths)
    for count, rows in _by_length(samples):
        own = SpanLengths(count, lengths.density, lengths.mean_span, lengths.closing)
        noise = noise_mask(samples.keys[rows], own)
        inputs, targets = corrupt(samples.tokens[rows, :count], noise, special, lengths.closing)
        batch["encoder_tokens"][rows, : own.inputs] = inputs
        batch["encoder_segments"][rows, : own.inputs] = 1
        batch["targets"][rows, : own.targets] = targets
        batch["tokens"][rows, 1 : own.targets] = targets[:, :-1]
        batch["weights"][rows, : own.targets] = 1
    return batch


def _by_length(samples: Samples) -> Iterator[tuple[int, NDArray[np.int64] | slice]]:
    """The rows of each length; a lone token at an epoch's end can have no noise and text both."""
    if samples.whole and samples.width > 1:
        yield samples.width, slice(None)
        return
    for count in np.unique(samples.lengths):
        if count > 1:
            yield int(count), np.flatnonzero(samples.lengths == count)


def _empty(count: int, pad: int, lengths: SpanLengths) -> Batch:
    inputs, targets = (count, lengths.inputs), (count, lengths.targets)
    return {
        "encoder_tokens": np.full(inputs, pad, np.int64),
        "encoder_segments": np.zeros(inputs, np.int32),
        "tokens": np.full(targets, pad, np.int64),
        "targets": np.full(targets, pad, np.int64),
        "weights": np.zeros(targets, np.float32),
    }


def noise_mask(keys: Words, lengths: SpanLengths) -> NDArray[np.bool_]:
    """[B, raw] which tokens are noise: text and noise each in random pieces, in turns, text first."""
    text = random_pieces(keys, lengths.raw - lengths.noise, lengths.spans, TEXT)
    noise = random_pieces(keys, lengths.noise, lengths.spans, NOISE)
    # 10 tokens, text in pieces of 4 3, noise in pieces of 1 2: turns end at 5 10, their noise begins at 4 8
    #   turns  0 0 0 0 1 -1 0 0 1 0 -1     and their running sum    0 0 0 0 1 0 0 0 1 1
    turns = np.zeros((len(keys), lengths.raw + 1), np.int8)
    rows = np.arange(len(keys))[:, None]
    ends = np.cumsum(text + noise, axis=1)
    turns[rows, ends - noise] = 1
    turns[rows, ends] -= 1
    return np.cumsum(turns[:, :-1], axis=1, dtype=np.int8).view(np.bool_)


def random_pieces(keys: Words, items: int, pieces: int, purpose: int) -> NDArray[np.int64]:
    """[B, pieces] sizes of non-empty pieces that `items` are cut into, each way of cutting equally likely."""
    places = random_subset(keys, items - 1, pieces - 1, purpose)
    cuts = np.zeros((len(keys), pieces + 1), np.int64)
    cuts[:, 1:-1] = places + 1
    cuts[:, -1] = items
    return np.diff(cuts, axis=1)


def random_subset(keys: Words, items: int, size: int, purpose: int) -> NDArray[np.int64]:
    """[B, size] ascending: `size` different numbers below `items`, each subset equally likely.

    The smallest of `items` random words are taken. Their low bits hold the places, so that no two are equal
    and the choice is the same on every machine.
    """
    if size == 0:
        return np.zeros((len(keys), 0), np.int64)
    low = np.uint32((1 << items.bit_length()) - 1)
    drawn = (halves(keys, items, purpose) & ~low) | np.arange(items, dtype=np.uint32)
    if size < items:
        drawn.partition(size - 1, axis=1)
    return np.sort((drawn[:, :size] & low).astype(np.int64), axis=1)


def corrupt(
    tokens: NDArray[Any], noise: NDArray[np.bool_], special: SpecialTokens, closing: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Input and target of samples [B, n] with equally many noise tokens and spans in each row."""
    changes = np.ones(noise.shape, dtype=bool)
    changes[:, 1:] = noise[:, 1:] != noise[:, :-1]
    inputs = _with_sentinels(tokens, ~noise, noise & changes, special.sentinels)
    targets = _with_sentinels(tokens, noise, ~noise & changes, special.sentinels)
    tail = [special.eos]
    if closing:
        spans = int((noise & changes)[0].sum())
        tail = [int(special.sentinels[spans]), special.eos]
    return _append(inputs, [special.eos]), _append(targets, tail)


def _with_sentinels(
    tokens: NDArray[Any],
    kept: NDArray[np.bool_],
    starts: NDArray[np.bool_],
    sentinels: NDArray[np.int64],
) -> NDArray[Any]:
    """The kept tokens of each row, and at every start of what is not kept the next sentinel."""
    begun = np.flatnonzero(starts)
    mixed = tokens.reshape(-1).copy()
    mixed[begun] = np.tile(sentinels[: len(begun) // len(tokens)], len(tokens))
    return mixed[np.flatnonzero(kept | starts)].reshape(len(tokens), -1)


def _append(rows: NDArray[Any], tail: list[int]) -> NDArray[np.int64]:
    """The rows with the same tail behind each."""
    count, length = rows.shape
    out = np.empty((count, length + len(tail)), np.int64)
    out[:, :length], out[:, length:] = rows, tail
    return out
