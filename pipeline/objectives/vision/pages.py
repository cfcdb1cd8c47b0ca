"""Pages of pictures and words in turn (Alayrac et al. 2022, section 2.4): each picture with its text.

A page keeps to one question that nobody writes down. Of three pictures, of which that is the shape,

    <bos> <image> circle <eos> <image> ring <eos> <image> circle <eos>

So what is to be said of the last picture follows from the pictures and texts before it: examples, or shots.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from data_prep.contract.pictures import QUESTIONS, ImageDataset
from data_prep.contract.questions import Question
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.objectives.batches import Batch
from pipeline.objectives.objective import MakePictureBatch
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.answers import ImageAnswers, image_token, pixels_of, questions_of

if TYPE_CHECKING:
    import torch

    from pipeline.models.layer import Layer


class ImagePages(ImageAnswers):
    """The cross-entropy of the words behind each picture of a page."""

    def describe(self) -> str:
        """What is learned."""
        return f"what is said of each of {self.settings.pictures} pictures of a page"

    def picture_batches(self, config: PipelineConfig, dataset: ImageDataset) -> MakePictureBatch:
        """Pages. `InputError` where nothing is asked about the pictures."""
        if not dataset.has(QUESTIONS):
            raise InputError(
                f"{dataset.folder}: nothing is asked about its pictures, which {config.objective.kind} "
                "learns from; prepare it with questions"
            )
        length = config.data.sequence_length
        return partial(paged, vocabulary=dataset.vocabulary, blind=config.objective.blind, length=length)

    def image_layers(self, config: PipelineConfig, pieces: int, dtype: "torch.dtype") -> "list[Layer]":
        """The tower, the resampler and the decoder between whose layers images are looked at."""
        from pipeline.models.vision.gated import gated_by_images
        from pipeline.models.vision.in_text import images_in_text

        make = images_in_text if config.objective.blind else gated_by_images
        return make(config, pieces, dtype, self.head)


def paged(samples: ImageSamples, vocabulary: Vocabulary, blind: bool, length: int) -> Batch:
    """A batch of pages, as many pictures as fit with their texts. `InputError` where not even one does."""
    pictures = 1 + len(samples.partners or ()) // max(1, len(samples))
    shape = (len(samples), length + 1)
    tokens, last = np.full(shape, vocabulary.pad, np.int64), np.zeros(shape, np.int32)
    weights = np.zeros((len(samples), length), np.float32)
    for row, texts in enumerate(questions_of(samples, pictures)):
        said = answers_of(texts)
        if not said:
            continue  # a damaged picture, about which nothing is said
        page, images, learned = written(vocabulary, said)
        if len(page) > length + 1 and learned.index(1, 2) >= length:
            raise InputError(f"data.sequence_length {length}: not even one picture and its words fit")
        count = min(len(page), length + 1)
        tokens[row, :count], last[row, :count] = page[:count], images[:count]
        weights[row, : count - 1] = learned[1:count]
    batch: Batch = {"tokens": tokens[:, :-1].copy(), "targets": tokens[:, 1:].copy(), "weights": weights}
    return batch if blind else batch | {"pixels": pixels_of(samples), "last_image": last[:, :-1].copy()}


def answers_of(texts: Sequence[Sequence[Question]]) -> list[str]:
    """What is said of each picture: the answers to the first question that is asked about all of them.

    Where there is none it is the first that is asked about the first picture, and others have nothing said.
    """
    for one in texts[0]:
        found = [answer_to(one.question, other) for other in texts]
        if all(found):
            return found
    return [answer_to(texts[0][0].question, other) for other in texts] if texts[0] else []


def answer_to(question: str, texts: Sequence[Question]) -> str:
    """The answer to a question; empty where it is not asked."""
    return next((one.answer for one in texts if one.question == question), "")


def written(vocabulary: Vocabulary, said: Sequence[str]) -> tuple[list[int], list[int], list[int]]:
    """The tokens of a page, the number of the last image at each, counted from 1, and 1 where words are."""
    page, images, learned = [vocabulary.bos], [0], [0]
    for number, words in enumerate(said, start=1):
        ids = [*vocabulary.encode(words), vocabulary.eos] if words else []
        page += [image_token(vocabulary), *ids]
        images += [number] * (1 + len(ids))
        learned += [0, *[1] * len(ids)]
    return page, images, learned
