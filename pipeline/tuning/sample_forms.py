"""The two forms of an instruction sample: what a model reads of a conversation, and what it learns to say.

A decoder has a conversation as one sequence with several answers to learn. An encoder-decoder has a sample
for every answer: its encoder reads all that was said before, its decoder learns the answer, shifted right
behind a start token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig, TuneConfig
from pipeline.objectives.batches import Batch
from pipeline.objectives.registry import objective_of
from pipeline.prompting.chat import Encoded

Row = tuple[NDArray[np.uint32], NDArray[np.bool_]]
"""Ids of a sample, and which of them are learned."""


class SampleForm(Protocol):
    """The form of one architecture."""

    def samples(self, conversation: Encoded) -> list[Encoded]:
        """The samples that a conversation makes."""
        ...

    def fit(self, sample: Encoded) -> Encoded:
        """What there is room for; nothing of it is learned where there is none for an answer."""
        ...

    def batch(self, rows: Sequence[Sequence[Row]], longest: int) -> Batch:
        """A padded batch of rows of fitted samples; one without any has weight 0. `longest` answer of all."""
        ...


@dataclass(frozen=True)
class JoinedSample:
    """A decoder's: S + 1 ids, of which the last is predicted alone.

    Packed, a row holds several; segments keep each to itself, and positions count from its start.
    """

    length: int
    pad: int
    packed: bool = False

    def samples(self, conversation: Encoded) -> list[Encoded]:
        return [conversation]

    def fit(self, sample: Encoded) -> Encoded:
        return Encoded(sample.tokens[: self.length + 1], sample.learned[: self.length + 1])

    def batch(self, rows: Sequence[Sequence[Row]], longest: int) -> Batch:
        tokens = np.full((len(rows), self.length), self.pad, dtype=np.int64)
        targets, weights = tokens.copy(), np.zeros(tokens.shape, dtype=np.float32)
        segments, positions = np.zeros(tokens.shape, dtype=np.int32), np.zeros_like(tokens)
        for place, row in enumerate(rows):
            first = 0
            for number, (ids, learned) in enumerate(row, 1):
                part = (place, slice(first, first + len(ids) - 1))
                tokens[part], targets[part], weights[part] = ids[:-1], ids[1:], learned[1:]
                segments[part], positions[part] = number, np.arange(len(ids) - 1)
                first += len(ids) - 1
        batch: Batch = {"tokens": tokens, "targets": targets, "weights": weights}
        return batch | ({"segments": segments, "positions": positions} if self.packed else {})


@dataclass(frozen=True)
class EncodedSample:
    """An encoder-decoder's: S ids to read, and as many to say as the longest answer has, at most S."""

    length: int
    pad: int
    start: int
    begins: tuple[int, ...] = ()
    """What every answer begins with, as BART's texts do."""

    def samples(self, conversation: Encoded) -> list[Encoded]:
        """One for each answer: all that was said before it, and itself to be learned."""
        found = []
        learned = [*conversation.learned, False]
        start = 0
        for place in range(1, len(learned)):
            if learned[place] and not learned[place - 1]:
                start = place
            elif learned[place - 1] and not learned[place]:
                flags = [False] * start + [True] * (place - start)
                found.append(Encoded(conversation.tokens[:place], flags))
        return found

    def fit(self, sample: Encoded) -> Encoded:
        """A context too long to be read leaves no room for an answer; an answer loses its end."""
        read = sample.learned.index(True)
        stop = read if read > self.length else read + self.length - len(self.begins)
        return Encoded(sample.tokens[:stop], sample.learned[:stop])

    def batch(self, rows: Sequence[Sequence[Row]], longest: int) -> Batch:
        read = np.full((len(rows), self.length), self.pad, dtype=np.int64)
        segments = np.zeros(read.shape, dtype=np.int32)
        begins = np.array(self.begins, dtype=np.uint32)
        tokens = np.full((len(rows), longest + len(begins)), self.pad, dtype=np.int64)
        tokens[:, 0] = self.start
        targets, weights = np.full_like(tokens, self.pad), np.zeros(tokens.shape, dtype=np.float32)
        for place, row in enumerate(rows):
            for ids, learned in row:
                context, answer = ids[~learned], np.concatenate((begins, ids[learned]))
                read[place, : len(context)], segments[place, : len(context)] = context, 1
                tokens[place, 1 : len(answer)], targets[place, : len(answer)] = answer[:-1], answer
                weights[place, : len(answer)] = 1
        return {
            "encoder_tokens": read,
            "encoder_segments": segments,
            "tokens": tokens,
            "targets": targets,
            "weights": weights,
        }


def sample_form(config: PipelineConfig, vocabulary: Vocabulary) -> SampleForm:
    """The form of the recipe's model. `InputError` where an encoder's conversations are to share rows."""
    length = config.data.sequence_length
    packed = isinstance(config.train, TuneConfig) and config.train.pack
    if packed and config.model.architecture == "encoder_decoder":
        raise InputError("tune.pack is for decoders; an encoder reads one conversation at a time")
    if config.model.architecture == "encoder_decoder":
        objective = objective_of(config.objective)
        start = objective.decoder_start(vocabulary)
        return EncodedSample(length, vocabulary.pad, start, objective.begins(vocabulary))
    return JoinedSample(length, vocabulary.pad, packed)
