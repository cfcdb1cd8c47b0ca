"""What a model says of a picture behind so many pictures with their texts, as its pages have them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data_prep.contract.pictures import ImageDataset
from data_prep.contract.questions import Question
from data_prep.contract.settings import InputError
from pipeline.data.images.stream import ImageStream
from pipeline.evaluation.images.answering import MOST_TOKENS
from pipeline.evaluation.images.loading import AT_ONCE, ImageModel, Prompted
from pipeline.generation.model import Prompts
from pipeline.generation.sampling import generate
from pipeline.generation.session import Session
from pipeline.models.layer import Flow
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.answers import questions_of
from pipeline.objectives.vision.pages import answer_to, written


class LookingSession(Session):
    """Rows that a decoder goes on with, which looks at the last of the images before each token."""

    def __init__(self, model: ImageModel, pixels: Tensor, last: Sequence[Sequence[int]]) -> None:
        """`pixels` [B, I, Y, X, 3] of each row's images; the last image before each of its tokens."""
        super().__init__(model.whole, model.device, model.config.context_length)
        self.last = last
        now = torch.tensor([[row[-1]] for row in last], device=model.device)
        with torch.inference_mode():
            self._memory = model.whole.encode({"pixels": pixels.to(model.device), "last_image": now})

    def beside(self, width: int) -> Flow:
        """The last image before each token of the rows, padded as they are."""
        return {"last_image": self._padded(self.last, width, left=True)[0]}


@dataclass(frozen=True)
class Page:
    """What a picture is asked behind: its row among some samples, and a question that nobody writes down."""

    row: int
    question: Question
    shown: tuple[str, ...]
    """The answers about the pictures before it."""


@dataclass(frozen=True)
class Looking(Prompted):
    """A model with the images of a batch of pages before it, as generation asks for one."""

    pixels: Tensor
    last: Sequence[Sequence[int]]

    def session(self, sources: Prompts | None = None, /) -> Session:
        """The pages under way."""
        assert sources is None
        return LookingSession(self.model, self.pixels, self.last)


def pages(samples: ImageSamples, shots: int, about: Sequence[str]) -> list[Page]:
    """Every picture with each question that is asked about it and about as many pictures beside it."""
    found = []
    for row, texts in enumerate(questions_of(samples, 1 + shots)):
        for one in texts[0]:
            shown = tuple(answer_to(one.question, other) for other in texts[1:])
            if all(shown) and (not about or one.about in about):
                found.append(Page(row, one, shown))
    return found


def said(
    model: ImageModel, samples: ImageSamples, asked: Sequence[Page], shots: int, by: int = 0
) -> list[str]:
    """What a model says of each page's picture behind `shots` others, or of that `by` rows behind it."""
    if model.config.objective.kind != "image_pages" or model.config.objective.blind:
        raise InputError(f"{model.run}: a run of image_pages that sees pictures is expected")
    found = list[str]()
    for start in range(0, len(asked), AT_ONCE):
        part = asked[start : start + AT_ONCE]
        prompts = [written(model.vocabulary, [*page.shown[:shots], ""]) for page in part]
        images = np.stack([images_of(samples, page.row, shots, by) for page in part])
        looking = Looking(model, torch.from_numpy(images), [last for _, last, _ in prompts])
        rows = [tokens for tokens, _, _ in prompts]
        room = min(MOST_TOKENS, model.config.context_length - max(map(len, rows)))
        if room < 1:
            raise InputError(f"{shots} pictures with their words are too long for {model.run}")
        answers = generate(looking, rows, room, stop_ids={model.vocabulary.eos})
        found += [model.vocabulary.decode(one).strip() for one in answers]
    return found


def images_of(samples: ImageSamples, row: int, shots: int, by: int) -> np.ndarray:
    """[shots + 1, Y, X, 3]: pictures beside a row's, and then its own or one `by` rows behind it."""
    own = samples.pixels[(row + by) % len(samples)]
    if not shots:
        return own[None]
    assert samples.partners is not None
    beside = len(samples.partners) // len(samples)
    return np.concatenate((samples.partners.pixels[row * beside : row * beside + shots], own[None]))


def with_others(
    model: ImageModel, dataset: ImageDataset, split: str, count: int, beside: int
) -> ImageSamples:
    """The first pictures of a split, each with others of it, drawn from its key."""
    data, vision = model.config.data, model.vision
    size = data.view.size or vision.image_size
    stream = ImageStream(dataset, split, data.view, size, model.config.seed, train=False, beside=beside)
    return stream.stored(0, min(count, len(stream)))
