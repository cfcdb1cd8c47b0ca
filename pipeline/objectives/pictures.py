"""What an objective on pictures is given: a batch of them, decoded and augmented, nothing predicted yet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.questions import Question
from pipeline.objectives.draws import Words


@dataclass(frozen=True)
class ImageSamples:
    """B pictures of one size.

    pixels    [B, size, size, 3] RGB
    labels    [B] the class of each, -1 where the dataset has none
    captions  B texts, empty where the dataset has none; of several captions one is drawn
    keys      [B] the source of each sample's noise; crops, flips and the like have purposes from 100 on
    ids       [B] which documents they are
    real      [B] False where a corrupt picture was left out, in whose place is a black one without weight
    questions B times what is asked about a picture, in an order that is drawn; nothing where it has none
    partners  [B x (I - 1)] the further pictures of each sample, where there are I
    train     whether they are to be learned from: else nothing about them is drawn but what keys tell
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    captions: tuple[str, ...]
    keys: Words
    ids: NDArray[np.uint64]
    real: NDArray[np.bool_]
    train: bool = True
    questions: tuple[tuple[Question, ...], ...] = ()
    partners: "ImageSamples | None" = None

    def __len__(self) -> int:
        return len(self.pixels)

    @classmethod
    def joined(cls, parts: "Sequence[ImageSamples]") -> "ImageSamples":
        """Parts one behind the other."""
        ends = np.cumsum([len(part) for part in parts])
        return cls.merged(
            [np.arange(end - len(part), end) for end, part in zip(ends, parts, strict=True)], parts
        )

    @classmethod
    def merged(cls, places: Sequence[NDArray[np.int64]], parts: "Sequence[ImageSamples]") -> "ImageSamples":
        """One batch of several, the samples of each part at its places."""
        order = np.argsort(np.concatenate(places))
        captions = [caption for part in parts for caption in part.captions]
        questions = [asked for part in parts for asked in part.questions]
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts])[order]
            for name in ("pixels", "labels", "keys", "ids", "real")
        }
        further = [part.partners for part in parts if part.partners is not None]
        partners = None
        if further:
            count = len(further[0]) // len(parts[0])
            spread = [(place[:, None] * count + np.arange(count)).ravel() for place in places]
            partners = cls.merged(spread, further)
        return cls(
            captions=tuple(captions[row] for row in order),
            train=parts[0].train,
            questions=tuple(questions[row] for row in order) if questions else (),
            partners=partners,
            **arrays,
        )
