"""Denoising diffusion (Ho, Jain and Abbeel 2020): what a noised picture was before, or what was added to it.

How much noise a picture has, and which, follows from its sample's key, as do the pictures that are learned
without their condition (Ho and Salimans 2022). What a denoiser is told of a caption are the states of a
frozen text encoder, which the stage adds to a batch; a caption that is left out is the empty text.
"""

from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.pictures import ImageDataset
from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig
from pipeline.config.diffusion import DiffusionConfig
from pipeline.objectives.batches import Batch
from pipeline.objectives.draws import uniform
from pipeline.objectives.objective import MakePictureBatch
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.noise import Floats, noised, normals, remaining, wanted
from pipeline.objectives.vision.objective import ImageObjective, vision_of, weights_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from data_prep.contract.vocabulary import Vocabulary
    from pipeline.models.layer import Flow, Layer

TIME, NOISE, DROPPED, LOW_TIME, LOW_NOISE = range(10, 15)  # what a number is drawn for
TEXT_STATES = "text_states"
"""Of a batch: the states [S, B, D] of a text encoder."""


class Diffusion(ImageObjective):
    """The mean square error of what a denoiser says."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What it should say [B, Y, X, 3], and each picture's weight [B]."""
        return ("wanted", "weights")

    def describe(self) -> str:
        """What is learned, and what is told."""
        settings = self.settings.diffusion
        about = {"none": "", "label": ", told its class", "text": ", told its caption"}[settings.condition]
        low = f" and shown at {settings.low_size} pixels" if settings.low_size else ""
        what = {"noise": "the noise in a picture", "sample": "a picture", "velocity": "the velocity"}
        return f"{what[settings.predicts]} behind {settings.steps} steps of noise{about}{low}"

    def picture_batches(self, config: PipelineConfig, dataset: ImageDataset) -> MakePictureBatch:
        """Noised pictures with what is told of them. `InputError` where the dataset does not have that."""
        settings = self.settings.diffusion
        field = {"none": "", "label": "label", "text": "caption"}[settings.condition]
        if field and not dataset.has(field):
            raise InputError(
                f"{dataset.folder}: its pictures have no {field}, which objective.diffusion.condition "
                f"{settings.condition} tells"
            )
        return partial(
            noised_pictures,
            settings=settings,
            vocabulary=dataset.vocabulary if settings.condition == "text" else None,
            length=config.data.sequence_length,
        )

    def image_layers(self, config: PipelineConfig, pieces: int, dtype: "torch.dtype") -> "list[Layer]":
        """The denoiser."""
        from pipeline.models.diffusion.denoiser import denoiser
        from pipeline.models.linear import megatron_config

        del pieces
        length = config.data.sequence_length
        return denoiser(vision_of(config), config.objective.diffusion, length, megatron_config(dtype))

    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """Sum over the pictures of weight times mean square error."""
        errors_B = (outputs["said"].float() - labels["wanted"]).square().flatten(1).mean(1)
        return (errors_B * labels["weights"]).sum(), {}


def colours_of(pixels: NDArray[np.uint8]) -> Floats:
    """Bytes as numbers in [-1, 1]."""
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def smaller(colours: Floats, size: int) -> Floats:
    """Pictures [B, Y, X, 3] at a smaller side that divides theirs: means of squares of pixels."""
    factor = colours.shape[1] // size
    batch = len(colours)
    return cast(Floats, colours.reshape(batch, size, factor, size, factor, 3).mean((2, 4)))


def larger(colours: Floats, size: int) -> Floats:
    """Pictures at a larger side that theirs divides: each pixel a square."""
    factor = size // colours.shape[1]
    return colours.repeat(factor, 1).repeat(factor, 2)


def noised_pictures(
    samples: ImageSamples, settings: DiffusionConfig, vocabulary: "Vocabulary | None", length: int
) -> Batch:
    """A batch of noised pictures.

    noised [B, Y, X, 3]  in [-1, 1] before the noise     times [B]  steps of noise less one
    classes [B]          where classes are told, behind the last of them where one is left out
    encoder_tokens, encoder_segments [B, S]   of captions, where these are told
    low [B, Y, X, 3], low_times [B]           of a super-resolution stage: a small picture, noised and made
                                              as large, and its steps of noise less one
    """
    x, left = colours_of(samples.pixels), remaining(settings)
    times = drawn_times(samples, settings.steps, TIME)
    noise = normals(samples.keys, x.shape[1:], NOISE)
    batch: Batch = {
        "noised": noised(x, noise, left[times]),
        "times": times,
        "wanted": wanted(settings.predicts, x, noise, left[times]),
        "weights": weights_of(samples),
    }
    if settings.low_size:
        low = smaller(x, settings.low_size)
        low_times = drawn_times(samples, settings.low_steps, LOW_TIME)
        low = noised(low, normals(samples.keys, low.shape[1:], LOW_NOISE), left[low_times])
        batch |= {"low": larger(low, x.shape[1]), "low_times": low_times}
    dropped = samples.train & (uniform(samples.keys, 1, DROPPED)[:, 0] < settings.dropped)
    if settings.condition == "label":
        assert settings.classes is not None
        batch["classes"] = np.where(dropped, settings.classes, samples.labels)
    if settings.condition == "text":
        assert vocabulary is not None
        told = ["" if drop else text for drop, text in zip(dropped, samples.captions, strict=True)]
        batch |= encoder_inputs(told, vocabulary, length)
    return batch


def drawn_times(samples: ImageSamples, steps: int, purpose: int) -> NDArray[np.int64]:
    """[B] steps of noise less one, each as likely."""
    return (uniform(samples.keys, 1, purpose)[:, 0] * steps).astype(np.int64)


def encoder_inputs(texts: list[str], vocabulary: "Vocabulary", length: int) -> Batch:
    """What an encoder reads of texts: ids, perhaps cut, an end, padding; the same padding for every batch."""
    tokens = np.full((len(texts), length), vocabulary.pad, np.int64)
    segments = np.zeros((len(texts), length), np.int32)
    for row, ids in enumerate(vocabulary.encode_batch(texts)):
        framed = [*ids[: length - 1], vocabulary.eos]
        tokens[row, : len(framed)] = framed
        segments[row, : len(framed)] = 1
    return {"encoder_tokens": tokens, "encoder_segments": segments}
