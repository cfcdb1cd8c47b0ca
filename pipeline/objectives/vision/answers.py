"""Answers to questions about images (Liu et al. 2023): of a text with images in it, the answers are learned.

A sample with two patches an image, two pictures and a question about each is

    <bos> <image> <image> what colour is it? red <eos> <image> <image> is it a ring? no <eos>

of which `red <eos>` and `no <eos>` have weights. What stands at the places of images is replaced by what a
tower says of them, so it is any token.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.pictures import QUESTIONS, ImageDataset
from data_prep.contract.questions import Question
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import SENTINELS, Vocabulary
from pipeline.config import ObjectiveConfig, PipelineConfig
from pipeline.objectives.batches import Batch
from pipeline.objectives.objective import MakePictureBatch
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.objective import ImageObjective, vision_of

if TYPE_CHECKING:
    import torch

    from pipeline.models.layer import Layer

IMAGE = "<image>"
"""The token at the places of images, where a tokenizer has one of this name; else it is a sentinel."""


@dataclass(frozen=True)
class Prompt:
    """A text with images in it that a decoder goes on with."""

    tokens: list[int]
    places: list[int]
    """[I x N] where the patches of the images stand, image by image."""


@dataclass(frozen=True)
class Writer:
    """How questions about images become tokens."""

    vocabulary: Vocabulary
    patches: int
    """Places of an image; 0 where images are withheld."""

    @classmethod
    def of(cls, config: PipelineConfig, vocabulary: Vocabulary) -> "Writer":
        """As a recipe has it."""
        return cls(vocabulary, 0 if config.objective.blind else vision_of(config).patches)

    def begun(self) -> Prompt:
        """A text in which nothing stands yet."""
        return Prompt([self.vocabulary.bos], [])

    def with_image(self, text: Prompt) -> Prompt:
        """The text with an image behind it."""
        start = len(text.tokens)
        places = range(start, start + self.patches)
        return Prompt([*text.tokens, *[image_token(self.vocabulary)] * self.patches], [*text.places, *places])

    def asked(self, text: Prompt, question: str) -> Prompt:
        """The text with a question behind it."""
        return Prompt([*text.tokens, *self.vocabulary.encode(question)], text.places)

    def answer(self, words: str) -> list[int]:
        """What is to follow a question."""
        return [*self.vocabulary.encode(words), self.vocabulary.eos]


def image_token(vocabulary: Vocabulary) -> int:
    """What stands in tokens where an image does."""
    return next(
        (vocabulary.id_of(name) for name in (IMAGE, SENTINELS[0]) if vocabulary.has(name)), vocabulary.pad
    )


class ImageAnswers(ImageObjective):
    """The cross-entropy of the tokens of answers."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What follows each token [B, S], and the weights [B, S]."""
        return ("targets", "weights")

    @property
    def partners(self) -> int:
        """The further pictures of a text."""
        return self.settings.pictures - 1

    def describe(self) -> str:
        """What is learned, and from what."""
        learned = "answers to questions" if self.settings.loss_on == "answers" else "questions and answers"
        seen = "whose pictures are withheld" if self.settings.blind else "about pictures"
        return f"{learned} {seen}"

    def tokens(self, batch: Batch) -> int:
        """Texts that have a weight."""
        return int((batch["weights"] > 0).any(1).sum())

    def picture_batches(self, config: PipelineConfig, dataset: ImageDataset) -> MakePictureBatch:
        """Images with texts that ask about them. `InputError` where nothing is asked."""
        if not dataset.has(QUESTIONS):
            raise InputError(
                f"{dataset.folder}: nothing is asked about its pictures, which {config.objective.kind} "
                "learns from; prepare it with questions"
            )
        return partial(
            answered,
            writer=Writer.of(config, dataset.vocabulary),
            objective=config.objective,
            length=config.data.sequence_length,
        )

    def image_layers(self, config: PipelineConfig, pieces: int, dtype: "torch.dtype") -> "list[Layer]":
        """The tower, the projector and the decoder; the decoder alone where pictures are withheld."""
        from pipeline.models.vision.in_text import images_in_text

        return images_in_text(config, pieces, dtype, self.head)


def answered(samples: ImageSamples, writer: Writer, objective: ObjectiveConfig, length: int) -> Batch:
    """A batch of texts about images.

    `InputError` where not even one question about each picture fits.
    """
    pictures = objective.pictures
    tokens = np.full((len(samples), length + 1), writer.vocabulary.pad, np.int64)
    weights = np.zeros((len(samples), length), np.float32)
    places = np.full((len(samples), pictures * writer.patches), -1, np.int64)
    for row, texts in enumerate(questions_of(samples, pictures)):
        if not all(texts):
            continue  # a damaged picture, about which nothing is asked
        text, learned = written(writer, texts, objective, length)
        tokens[row, : len(text.tokens)] = text.tokens
        places[row] = text.places
        for start, stop in learned:
            weights[row, start - 1 : stop - 1] = 1
    batch: Batch = {"tokens": tokens[:, :-1].copy(), "targets": tokens[:, 1:].copy(), "weights": weights}
    if objective.blind:
        return batch
    return batch | {"pixels": pixels_of(samples), "image_places": places}


def questions_of(samples: ImageSamples, pictures: int) -> Iterable[list[tuple[Question, ...]]]:
    """What is asked about each picture of each sample; nothing where it is damaged."""
    further = samples.partners.questions if samples.partners else ()
    for row, own in enumerate(samples.questions):
        yield [own, *further[row * (pictures - 1) : (row + 1) * (pictures - 1)]]


def pixels_of(samples: ImageSamples) -> NDArray[np.uint8]:
    """[B, Y, X, 3], or [B, I, Y, X, 3] of several pictures a sample."""
    if samples.partners is None:
        return samples.pixels
    further = samples.partners.pixels.reshape(len(samples), -1, *samples.pixels.shape[1:])
    return np.concatenate((samples.pixels[:, None], further), 1)


def written(
    writer: Writer, texts: Sequence[Sequence[Question]], objective: ObjectiveConfig, length: int
) -> tuple[Prompt, list[tuple[int, int]]]:
    """The text of a sample, and from where to where in it what is learned stands.

    What is asked about each picture first is always in it, further questions in turn as long as they fit.
    """
    left = length + 1 - len(written_out(writer, [list(one[:1]) for one in texts])[0].tokens)
    if left < 0:
        raise InputError(
            f"data.sequence_length {length}: a question about each of {len(texts)} pictures, with "
            f"{writer.patches} patches each, takes {-left} tokens more"
        )
    chosen = [[one[0]] for one in texts]
    for turn in range(1, objective.questions):
        for place, one in enumerate(texts):
            if turn < len(one) and (size := turn_size(writer, one[turn])) <= left:
                chosen[place].append(one[turn])
                left -= size
    text, answers = written_out(writer, chosen)
    return text, answers if objective.loss_on == "answers" else spoken(text)


def written_out(writer: Writer, texts: Sequence[Sequence[Question]]) -> tuple[Prompt, list[tuple[int, int]]]:
    """Each image with its questions and answers, and from where to where the answers stand."""
    text, answers = writer.begun(), []
    for asked in texts:
        text = writer.with_image(text)
        for one in asked:
            text = writer.asked(text, one.question)
            answer = writer.answer(one.answer)
            answers.append((len(text.tokens), len(text.tokens) + len(answer)))
            text = Prompt([*text.tokens, *answer], text.places)
    return text, answers


def turn_size(writer: Writer, one: Question) -> int:
    """Tokens of a question and its answer."""
    return len(writer.vocabulary.encode(one.question)) + len(writer.answer(one.answer))


def spoken(text: Prompt) -> list[tuple[int, int]]:
    """Everything behind the start that is no image."""
    images = {*text.places}
    return [(place, place + 1) for place in range(1, len(text.tokens)) if place not in images]
