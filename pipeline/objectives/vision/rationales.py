"""Multimodal chain of thought (Zhang et al. 2023): what leads from an image to an answer, then the answer.

Two models of one form read a question with an encoder that an image is fused into. One says the rationale;
the other reads that behind the question and says the answer. A third one, to compare with, answers at once:

    objective.says    the encoder reads                                 the decoder says
    rationale         what colour is it?                                there is a small red ring. <eos>
    answer            what colour is it? there is a small red ring.     red <eos>
    answer_at_once    what colour is it?                                red <eos>

The answer is learned behind the rationale that the dataset has; in use it stands behind a generated one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from data_prep.contract.pictures import QUESTIONS, TRAIN, ImageDataset
from data_prep.contract.questions import Question
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.objectives.batches import Batch
from pipeline.objectives.objective import MakePictureBatch
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.image_tokens import encoder_rows
from pipeline.objectives.vision.objective import ImageObjective

if TYPE_CHECKING:
    import torch

    from pipeline.models.layer import Layer

AT_ONCE = "answer_at_once"
LOOKED_AT = 64
"""Pictures among whose questions at least one rationale must be."""
Pair = tuple[list[int], list[int]]
"""The ids that an encoder reads, and those that a decoder says behind them."""


@dataclass(frozen=True)
class Wording:
    """How questions become what an encoder reads and a decoder says."""

    vocabulary: Vocabulary
    says: str
    """`objective.says`."""
    length: int
    """Most ids of either."""

    @classmethod
    def of(cls, config: PipelineConfig, vocabulary: Vocabulary) -> "Wording":
        """As a recipe has it."""
        return cls(vocabulary, config.objective.says, config.data.sequence_length)

    def read(self, question: str, rationale: str = "") -> list[int]:
        """A question, perhaps a rationale behind it, and the end."""
        words = [text for text in (question, rationale) if text]
        return [*(one for text in words for one in self.vocabulary.encode(text)), self.vocabulary.eos]

    def fitting(self, question: str, rationale: str) -> list[int]:
        """The same with as much of a rationale, which may have been generated, as fits.

        `InputError` where the question alone is too long.
        """
        if (most := len(self.read(question))) > self.length:
            raise InputError(f"a question of {most} tokens; the model reads at most {self.length}")
        ids = self.read(question, rationale)
        return ids if len(ids) <= self.length else [*ids[: self.length - 1], self.vocabulary.eos]

    def pair(self, one: Question) -> Pair:
        """What is read and said of a question."""
        said = one.rationale if self.says == "rationale" else one.answer
        read = self.read(one.question, one.rationale if self.says == "answer" else "")
        return read, [*self.vocabulary.encode(said), self.vocabulary.eos]

    def learned(self, asked: Sequence[Question]) -> Pair | None:
        """The first of a picture's questions that has what is needed; None where none has it.

        `InputError` where all that have it are too long.
        """
        shortest = None
        for one in asked:
            if self.says != AT_ONCE and not one.rationale:
                continue
            found = self.pair(one)
            longest = max(map(len, found))
            if longest <= self.length:
                return found
            shortest = min(longest, shortest or longest)
        if shortest is None:
            return None
        raise InputError(
            f"data.sequence_length {self.length}: no question of a picture is so short; the shortest with "
            f"what is read and said takes {shortest}"
        )


class ImageRationales(ImageObjective):
    """The cross-entropy of the tokens of a rationale, or of an answer."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What is to be said [B, S], and the weights [B, S]."""
        return ("targets", "weights")

    def describe(self) -> str:
        """What is learned, and from what."""
        said = {
            "rationale": "rationales of questions",
            "answer": "answers to questions behind their rationales",
            AT_ONCE: "answers to questions at once",
        }
        seen = "whose pictures are withheld" if self.settings.blind else "about pictures"
        return f"{said[self.settings.says]} {seen}"

    def tokens(self, batch: Batch) -> int:
        """Questions that have a weight."""
        return int((batch["weights"] > 0).any(1).sum())

    def picture_batches(self, config: PipelineConfig, dataset: ImageDataset) -> MakePictureBatch:
        """Images with a question each. `InputError` where nothing is asked, or nothing leads to answers."""
        kind = config.objective.kind
        if not dataset.has(QUESTIONS):
            raise InputError(
                f"{dataset.folder}: nothing is asked about its pictures, which {kind} learns from; prepare "
                "it with questions"
            )
        if self.settings.says != AT_ONCE and not any(one.rationale for one in first_questions(dataset)):
            raise InputError(
                f"{dataset.folder}: its first questions have no rationales, which {kind} learns; "
                f"objective.says {AT_ONCE} needs none"
            )
        wording = Wording.of(config, dataset.vocabulary)
        return partial(reasoned, wording=wording, blind=self.settings.blind)

    def image_layers(self, config: PipelineConfig, pieces: int, dtype: "torch.dtype") -> "list[Layer]":
        """The tower, an encoder whose text it is fused into, and a decoder."""
        from pipeline.models.vision.fused import image_beside_text

        return image_beside_text(config, pieces, dtype, self.head)


def reasoned(samples: ImageSamples, wording: Wording, blind: bool) -> Batch:
    """A batch of a question about each picture, or with `blind` of the questions alone.

    What a decoder says is shifted right behind `<pad>`; a picture without a question has no weight.
    """
    length, vocabulary = wording.length, wording.vocabulary
    pairs = [wording.learned(asked) for asked in samples.questions]
    targets = np.full((len(samples), length), vocabulary.pad, np.int64)
    weights = np.zeros(targets.shape, np.float32)
    for row, pair in enumerate(pairs):
        if pair is not None:
            targets[row, : len(pair[1])] = pair[1]
            weights[row, : len(pair[1])] = 1
    tokens = np.full_like(targets, vocabulary.pad)
    tokens[:, 1:] = targets[:, :-1]
    read = [[vocabulary.eos] if pair is None else pair[0] for pair in pairs]
    texts: Batch = {"tokens": tokens, "targets": targets, "weights": weights}
    batch = encoder_rows(read, vocabulary.pad, length) | texts
    return batch if blind else batch | {"pixels": samples.pixels}


def first_questions(dataset: ImageDataset) -> Iterator[Question]:
    """What is asked about the first pictures that are learned from."""
    for row in range(min(LOOKED_AT, dataset.split(TRAIN).total("samples"))):
        yield from dataset.questions(TRAIN, row)
