"""Answers of a model that sees images to questions about them, in one process, by the likeliest tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.contract.pixels import PictureError, as_rgb, opened
from data_prep.contract.reading import read_bytes
from data_prep.contract.settings import InputError
from pipeline.config import ViewConfig
from pipeline.data.images.views import plain_view
from pipeline.evaluation.images.loading import ImageModel, Prompted
from pipeline.generation.model import Prompts
from pipeline.generation.sampling import GREEDY, Sampling, generate
from pipeline.generation.session import Session
from pipeline.models.layer import Flow
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.answers import Prompt, Writer

MOST_TOKENS = 16
"""Of an answer."""
MOST_PIXELS, MOST_BYTES = 1 << 26, 1 << 26
"""Of a picture's file that somebody asks about."""


class SeeingSession(Session):
    """Rows that a decoder goes on with, each of which has images in what it starts from."""

    def __init__(self, model: ImageModel, pixels: Tensor, places: Tensor) -> None:
        """`pixels` [B, I, Y, X, 3] of each row's images, and `places` [B, I x N] in it."""
        super().__init__(model.whole, model.device, model.config.context_length)
        self.places = places.to(model.device)
        with torch.inference_mode():
            self._states = model.whole.encode({"pixels": pixels.to(model.device)})

    def beside(self, width: int) -> Flow:
        """The images, and where they stand once rows are padded; from then on they are in the cache."""
        del width
        return self._states | {"image_places": self.places + self._padding_B.unsqueeze(1)}


@dataclass(frozen=True)
class Seen(Prompted):
    """A model with the images of a batch of prompts before it, as generation asks for one."""

    pixels: Tensor
    places: Tensor

    def session(self, sources: Prompts | None = None, /) -> Session:
        """The prompts under way."""
        assert sources is None
        if self.model.config.objective.blind:
            return Session(self.model.whole, self.model.device, self.model.config.context_length)
        return SeeingSession(self.model, self.pixels, self.places)


def answers(model: ImageModel, samples: ImageSamples, questions: Sequence[str]) -> list[str]:
    """What a model says to a question about each picture.

    `InputError` where it answers none, or where a question and its picture are too long for it.
    """
    return _said(model, torch.from_numpy(samples.pixels).unsqueeze(1), questions, MOST_TOKENS, GREEDY)


def answers_about(
    model: ImageModel, pictures: Sequence[Path], questions: Sequence[str], tokens: int, how: Sampling
) -> list[str]:
    """What a model says to each question about some picture files, which it sees one behind the other.

    `InputError` for a file that is no picture, and as `answers` has it.
    """
    data = model.config.data
    pixels = [_seen(path, data.view, data.view.size or model.vision.image_size) for path in pictures]
    several = torch.from_numpy(np.stack(pixels)).unsqueeze(0).expand(len(questions), -1, -1, -1, -1)
    return _said(model, several, questions, tokens, how)


def _seen(path: Path, view: ViewConfig, size: int) -> NDArray[np.uint8]:
    """The pixels of a picture's file as the model was validated on pictures."""
    try:
        image = as_rgb(opened(read_bytes(path, limit=MOST_BYTES), MOST_PIXELS))
    except PictureError as error:
        raise InputError(f"{path}: {error.reason}; a JPEG, PNG or WebP is expected") from None
    return plain_view(image, view, size)


def _said(
    model: ImageModel, pixels: Tensor, questions: Sequence[str], tokens: int, how: Sampling
) -> list[str]:
    """What is said to each question, behind its own pictures [I, Y, X, 3]."""
    if model.config.objective.kind != "image_answers":
        raise InputError(
            f"{model.run}: it has learned {model.config.objective.kind}; a run of image_answers answers"
        )
    writer, longest = Writer.of(model.config, model.vocabulary), model.config.context_length
    prompts = [prompt(writer, question, pixels.shape[1]) for question in questions]
    if (most := max(len(one.tokens) for one in prompts)) >= longest:
        raise InputError(f"pictures and a question of {most} tokens; the model reads fewer than {longest}")
    seen = Seen(model, pixels, torch.tensor([one.places for one in prompts], dtype=torch.long))
    room, rows = min(tokens, longest - most), [one.tokens for one in prompts]
    said = generate(seen, rows, room, how, stop_ids={model.vocabulary.eos})
    return [model.vocabulary.decode(one).strip() for one in said]


def prompt(writer: Writer, question: str, pictures: int) -> Prompt:
    """So many pictures and a question about them."""
    text = writer.begun()
    for _ in range(pictures):
        text = writer.with_image(text)
    return writer.asked(text, question)
