"""What an objective on pictures is given: a batch of them, decoded and augmented, nothing predicted yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

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
    train     whether they are to be learned from: else nothing about them is drawn but what keys tell
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    captions: tuple[str, ...]
    keys: Words
    ids: NDArray[np.uint64]
    real: NDArray[np.bool_]
    train: bool = True

    def __len__(self) -> int:
        return len(self.pixels)

    @classmethod
    def merged(cls, places: Sequence[NDArray[np.int64]], parts: Sequence[Self]) -> Self:
        """One batch of several, the samples of each part at its places."""
        order = np.argsort(np.concatenate(places))
        captions = [caption for part in parts for caption in part.captions]
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts])[order]
            for name in ("pixels", "labels", "keys", "ids", "real")
        }
        return cls(captions=tuple(captions[row] for row in order), train=parts[0].train, **arrays)
