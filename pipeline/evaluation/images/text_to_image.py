"""A trained Parti in one process: texts to the tokens of images, and of several images the best one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.contract.settings import InputError
from pipeline.checkpoints.format import Checkpoint
from pipeline.evaluation.images.loading import AT_ONCE, ImageModel, open_images
from pipeline.evaluation.images.tokenizer import ImageTokenizer
from pipeline.generation.guided import Guided, Rows, said
from pipeline.generation.sampling import Sampling, streams
from pipeline.generation.session import Session
from pipeline.objectives.draws import Words
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.image_tokens import prompts, start_of

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class TextToImage:
    """A run of objective image_tokens."""

    model: ImageModel

    def at(self, checkpoint: Path) -> "TextToImage":
        """The same run at another of its checkpoints."""
        return TextToImage(replace(self.model, checkpoint=Checkpoint(checkpoint)))

    @cached_property
    def codes(self) -> int:
        """Codes that an image is said in."""
        return start_of(self.model.vision)

    @torch.inference_mode()
    def tokens(self, captions: Sequence[str], guidance: float, sampling: Sampling) -> NDArray[np.int64]:
        """[B, N] the tokens of an image for each caption.

        An image draws from a stream of its own, by the seed, its caption and how many equal ones stand before
        it: it is the same whatever the others are.
        """
        sources = prompts(captions, self.model.vocabulary, self.model.config.data.sequence_length)
        draws_BN = streams(sources, self.model.vision.patches, sampling.seed)
        parts = []
        for start in range(0, len(sources), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            session = self._session(sources[rows], guidance)
            parts.append(said(session, self.codes, self.codes, sampling, draws_BN[rows]))
        found: NDArray[np.int64] = torch.cat(parts).cpu().numpy()
        return found

    def _session(self, sources: list[list[int]], guidance: float) -> Rows:
        model = self.model
        untold = [[model.vocabulary.eos]] * len(sources)
        every = sources if guidance == 1.0 else [*sources, *untold]
        session = Session(model.whole, model.device, model.config.longest, sources=every)
        return session if guidance == 1.0 else Guided(session, guidance)


def open_text_to_image(path: Path, tokenizer: ImageTokenizer) -> TextToImage:
    """The newest checkpoint of a run. `InputError` where it is none, or says its images in other codes."""
    model = open_images(path)
    kind = model.config.objective.kind
    if kind != "image_tokens":
        raise InputError(f"{model.run}: it has learned {kind}; image_tokens makes images of texts")
    theirs, ours = tokenizer.model.vision, model.vision
    if (theirs.quantiser, theirs.side) != (ours.quantiser, ours.side):
        raise InputError(f"{model.run}: its tokens are not those of {tokenizer.model.run}")
    return TextToImage(model)


def best_of(judge: ImageModel, pictures: Pixels, captions: Sequence[str], count: int) -> NDArray[np.int64]:
    """[B] which of each caption's `count` pictures [B x count, Y, X, 3] is nearest to it in a space of both.

    `judge` is a run of objective contrastive; a caption's pictures stand side by side.
    """
    images, texts = [], judge.text_features(captions)
    for start in range(0, len(pictures), AT_ONCE):
        images.append(judge.image_features(unlabelled(pictures[start : start + AT_ONCE])))
    scores = (torch.cat(images).unflatten(0, (-1, count)) * texts.unsqueeze(1)).sum(2)
    found: NDArray[np.int64] = scores.argmax(1).numpy()
    return found


def unlabelled(pixels: Pixels) -> ImageSamples:
    """Pictures of which nothing else is known."""
    keys: Words = np.zeros(len(pixels), np.uint64)
    labels, real = np.full(len(pixels), -1, np.int64), np.ones(len(pixels), bool)
    return ImageSamples(pixels, labels, ("",) * len(pixels), keys, keys, real, train=False)
