"""Answers of a model that sees images to questions about them, in one process, by the likeliest tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.evaluation.images.loading import ImageModel
from pipeline.generation.model import Prompts
from pipeline.generation.sampling import generate
from pipeline.generation.session import Session
from pipeline.models.layer import Flow
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.answers import Prompt, Writer

MOST_TOKENS = 16
"""Of an answer."""


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
class Seen:
    """A model with the images of a batch of prompts before it, as generation asks for one."""

    model: ImageModel
    pixels: Tensor
    places: Tensor

    @property
    def config(self) -> PipelineConfig:
        """The resolved configuration of the run."""
        return self.model.config

    @property
    def vocabulary(self) -> Vocabulary:
        """The run's tokenizer."""
        return self.model.vocabulary

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
    if model.config.objective.kind != "image_answers":
        raise InputError(
            f"{model.run}: it has learned {model.config.objective.kind}; a run of image_answers answers"
        )
    writer, longest = Writer.of(model.config, model.vocabulary), model.config.context_length
    prompts = [prompt(writer, question) for question in questions]
    if (most := max(len(one.tokens) for one in prompts)) >= longest:
        raise InputError(f"a picture and a question of {most} tokens; the model reads fewer than {longest}")
    seen = Seen(
        model,
        torch.from_numpy(samples.pixels).unsqueeze(1),
        torch.tensor([one.places for one in prompts], dtype=torch.long),
    )
    room = min(MOST_TOKENS, longest - most)
    said = generate(seen, [one.tokens for one in prompts], room, stop_ids={model.vocabulary.eos})
    return [model.vocabulary.decode(one).strip() for one in said]


def prompt(writer: Writer, question: str) -> Prompt:
    """A picture and a question about it."""
    return writer.asked(writer.with_image(writer.begun()), question)
