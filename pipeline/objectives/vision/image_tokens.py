"""Parti (Yu et al. 2022): an encoder reads a text, and a decoder says the tokens of an image one by one.

The images are those that a quantiser has read (`token_maps`). The decoder has a table of its own: a row for
each code, and one that every image starts from. A share of the images is learned without their texts, of
which then the end alone is there, so that a sample can be told how much to go by its text (guidance).
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from data_prep.contract.pictures import CAPTION, ImageDataset
from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig
from pipeline.config.vision import VisionConfig
from pipeline.costs.lengths import Lengths
from pipeline.objectives.batches import Batch
from pipeline.objectives.draws import uniform
from pipeline.objectives.objective import MakePictureBatch
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.objective import ImageObjective, vision_of, weights_of
from pipeline.objectives.vision.token_maps import TOKENS, numbers_of

if TYPE_CHECKING:
    import torch

    from data_prep.contract.vocabulary import Vocabulary
    from pipeline.models.layer import Layer

DROPPED = 6  # what a number is drawn for


class ImageTokens(ImageObjective):
    """The cross-entropy of every token of an image, given its text and the tokens before it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The tokens [B, N], and their weights [B, N]."""
        return ("targets", "weights")

    def tokens(self, batch: Batch) -> int:
        """Images that have a weight."""
        return int((batch["weights"] > 0).any(1).sum())

    def describe(self) -> str:
        """What is learned."""
        return "the tokens of an image one by one behind its text"

    def picture_batches(self, config: PipelineConfig, dataset: ImageDataset) -> MakePictureBatch:
        """Maps of tokens with their captions. `InputError` where a dataset has other pictures or no texts."""
        vision = vision_of(config)
        check_maps(dataset, vision)
        return partial(
            behind_texts,
            vocabulary=dataset.vocabulary,
            length=config.data.sequence_length,
            start=start_of(vision),
            dropped=self.settings.text_dropped,
        )

    def image_layers(self, config: PipelineConfig, pieces: int, dtype: "torch.dtype") -> "list[Layer]":
        """An encoder of texts, and a decoder of tokens behind it."""
        from pipeline.models.build import Builder

        vision = vision_of(config)
        lengths = Lengths(config.data.sequence_length, vision.patches)
        build = Builder(config, lengths, pieces, dtype, says=start_of(vision) + 1)
        return build.layers(lambda build: [build.logits()])


def start_of(vision: VisionConfig) -> int:
    """The row that images start from: the one behind the codes."""
    assert vision.quantiser is not None
    return vision.quantiser.codes


def check_maps(dataset: ImageDataset, vision: VisionConfig) -> None:
    """`InputError` where a dataset is not of token maps of the codes and the size that the section says."""
    pixels, codes = dataset.manifest.pixels, start_of(vision)
    if TOKENS not in pixels:
        raise InputError(
            f"{dataset.folder}: pictures, where their tokens are expected; a stage of kind tokenize_images "
            "makes them"
        )
    if (pixels[TOKENS], pixels["size"]) != (codes, vision.side):
        raise InputError(
            f"{dataset.folder}: its images have {pixels['size']} x {pixels['size']} tokens of "
            f"{pixels[TOKENS]} codes, and the section vision says {vision.side} x {vision.side} of {codes}"
        )
    if not dataset.has(CAPTION):
        raise InputError(f"{dataset.folder}: its images have no captions, which image_tokens learns behind")


def behind_texts(
    samples: ImageSamples, vocabulary: "Vocabulary", length: int, start: int, dropped: float
) -> Batch:
    """A batch for an encoder and a decoder, whose tokens are shifted right."""
    numbers_BN = numbers_of(samples.pixels)
    told = np.ones(len(samples), bool)
    if samples.train:
        told = uniform(samples.keys, 1, DROPPED)[:, 0] >= dropped
    captions = [caption if kept else "" for caption, kept in zip(samples.captions, told, strict=True)]
    first_B1 = np.full((len(samples), 1), start, np.int64)
    weights_BN = np.repeat(weights_of(samples)[:, None], numbers_BN.shape[1], axis=1)
    return encoded(captions, vocabulary, length) | {
        "tokens": np.concatenate((first_B1, numbers_BN[:, :-1]), axis=1),
        "targets": numbers_BN,
        "weights": weights_BN,
    }


def encoded(captions: Sequence[str], vocabulary: "Vocabulary", length: int) -> Batch:
    """`encoder_tokens` [B, length], texts, perhaps cut, each with its end; `encoder_segments` says where."""
    return encoder_rows(prompts(captions, vocabulary, length), vocabulary.pad, length)


def encoder_rows(rows: Sequence[Sequence[int]], pad: int, length: int) -> Batch:
    """The same of ids, none of which are more than `length`."""
    tokens = np.full((len(rows), length), pad, np.int64)
    segments = np.zeros(tokens.shape, np.int32)
    for row, ids in enumerate(rows):
        tokens[row, : len(ids)] = ids
        segments[row, : len(ids)] = 1
    return {"encoder_tokens": tokens, "encoder_segments": segments}


def prompts(captions: Sequence[str], vocabulary: "Vocabulary", length: int) -> list[list[int]]:
    """The ids that the encoder reads of each text: no more than `length`, its end among them."""
    return [[*ids[: length - 1], vocabulary.eos] for ids in vocabulary.encode_batch(list(captions))]
