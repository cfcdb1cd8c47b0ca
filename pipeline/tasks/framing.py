"""What a model reads of one text or two: their tokens with what stands around and between them.

    encoder            <cls> A <sep>       <cls> A <sep> B <sep>        types 0 and 1
    decoder            <eos> A <eos>       <eos> A <sep> B <eos>        the last token is looked at
    encoder_decoder    A <eos>             A <sep> B <eos>              which its decoder reads shifted right

A published tokenizer puts its own tokens around a text; RoBERTa's pairs have two separators in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import CLS, SEP, Vocabulary
from pipeline.config import PipelineConfig
from pipeline.objectives.batches import Batch
from pipeline.objectives.registry import objective_of

MULTIPLE = 8
"""Lengths of batches are filled up to a multiple of this, which tensor ranks can cut."""


class Framed(NamedTuple):
    """Tokens of a sample, with the type of each and where the second text begins."""

    tokens: list[int]
    types: list[int]
    second: int = 0


@dataclass(frozen=True)
class Frame:
    """What stands around texts in one model's samples, and how these become arrays."""

    architecture: str
    before: list[int]
    between: list[int]
    after: list[int]
    length: int
    """Most tokens of a sample."""
    pad: int
    start: int
    """What a decoder behind an encoder begins with."""
    types: bool
    """Whether the model tells first and second texts apart by types."""

    def room(self, pair: bool) -> int:
        """Tokens of texts that a sample has room for."""
        return self.length - len(self.before) - len(self.after) - (len(self.between) if pair else 0)

    def make(self, first: Sequence[int], second: Sequence[int] | None = None) -> tuple[Framed, bool]:
        """A sample, and whether a text lost its end; of two the longer one is cut first."""
        room = self.room(second is not None)
        if second is None:
            tokens = [*self.before, *first[:room], *self.after]
            return Framed(tokens, [0] * len(tokens)), len(first) > room
        kept, other = shared(len(first), len(second), room)
        front = [*self.before, *first[:kept], *self.between]
        back = [*second[:other], *self.after]
        cut = len(first) + len(second) > room
        return Framed([*front, *back], [0] * len(front) + [1] * len(back), len(front)), cut

    def batch(self, samples: Sequence[Framed], width: int) -> Batch:
        """Arrays [B, width] of what the model's layers read."""
        tokens = np.full((len(samples), width), self.pad, np.int64)
        types, real = np.zeros_like(tokens), np.zeros(tokens.shape, np.int32)
        for row, sample in enumerate(samples):
            used = len(sample.tokens)
            tokens[row, :used], types[row, :used], real[row, :used] = sample.tokens, sample.types, 1
        last = real.sum(1, dtype=np.int64) - 1
        if self.architecture == "encoder":
            found: Batch = {"tokens": tokens, "segments": real}
            return found | {"token_types": types} if self.types else found
        if self.architecture == "decoder":
            return {"tokens": tokens, "last": last}
        shifted = np.full_like(tokens, self.pad)
        shifted[:, 0], shifted[:, 1:] = self.start, tokens[:, :-1]
        return {"encoder_tokens": tokens, "encoder_segments": real, "tokens": shifted, "last": last}


def shared(first: int, second: int, room: int) -> tuple[int, int]:
    """How much of two lengths there is room for when the longer one is cut, token by token.

    >>> shared(10, 4, 11)
    (7, 4)
    """
    while first + second > room:
        if first > second:
            first = max(second, room - second)
        elif second > first:
            second = max(first, room - first)
        else:
            return (room + 1) // 2, room // 2
    return first, second


def frame_of(config: PipelineConfig, vocabulary: Vocabulary) -> Frame:
    """The frame of a model. `InputError` where its tokenizer lacks what an encoder needs, or nothing fits."""
    architecture = config.model.architecture
    before, between, after = AROUND[architecture](vocabulary, config.model.token_types)
    frame = Frame(
        architecture,
        before,
        between,
        after,
        config.data.sequence_length,
        vocabulary.pad,
        objective_of(config.objective).decoder_start(vocabulary),
        config.model.token_types > 1,
    )
    if frame.room(pair=True) < 2:
        raise InputError(
            f"data.sequence_length {frame.length} leaves no room for two texts; make it longer than "
            f"{frame.length - frame.room(pair=True) + 1}"
        )
    return frame


Around = tuple[list[int], list[int], list[int]]
"""What stands before, between and behind."""


def _encoder(vocabulary: Vocabulary, types: int) -> Around:
    sep = vocabulary.id_of(SEP)
    if vocabulary.frame is None:
        return [vocabulary.id_of(CLS)], [sep], [sep]
    before, after = vocabulary.frame
    return before, after * (2 if types == 1 else 1), after


def _decoder(vocabulary: Vocabulary, types: int) -> Around:
    del types
    end = [] if vocabulary.pad == vocabulary.eos else [vocabulary.eos]
    return [vocabulary.start], [_between(vocabulary)], end


def _both(vocabulary: Vocabulary, types: int) -> Around:
    del types
    before, after = vocabulary.frame or ([], [vocabulary.eos])
    return before, [_between(vocabulary)], after


def _between(vocabulary: Vocabulary) -> int:
    return vocabulary.id_of(SEP) if vocabulary.has(SEP) else vocabulary.eos


AROUND = {"encoder": _encoder, "decoder": _decoder, "encoder_decoder": _both}


def filled_up(length: int, most: int) -> int:
    """The width of a batch whose longest sample has this length."""
    return min(-(-length // MULTIPLE) * MULTIPLE, most)
