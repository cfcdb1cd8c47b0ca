"""Pictures of a dataset as what a generator is asked for: their captions or classes, and the true ones."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.pictures import ImageDataset
from data_prep.contract.settings import InputError
from data_prep.contract.shapes import nouns_of
from pipeline.config import ViewConfig
from pipeline.data.images.stream import ImageStream


@dataclass(frozen=True)
class Prompts:
    """P prompts."""

    captions: tuple[str, ...]
    """What a picture should show, in words: a caption, or `a CLASS`."""
    labels: NDArray[np.int64]
    """[P] the class of each, -1 where there is none."""
    pictures: NDArray[np.uint8]
    """[P, Y, X, 3] the pictures that they are of."""

    @property
    def judged(self) -> bool:
        """Whether the rules of shapes know all captions."""
        return all(nouns_of(caption)[1] for caption in self.captions)

    def first(self, count: int) -> "Prompts":
        """Some of them."""
        return Prompts(self.captions[:count], self.labels[:count], self.pictures[:count])

    def times(self, count: int) -> "Prompts":
        """Each of them `count` times, one behind the other."""
        captions = tuple(chain.from_iterable([caption] * count for caption in self.captions))
        return Prompts(captions, self.labels.repeat(count), self.pictures.repeat(count, 0))


def prompts_of(dataset: ImageDataset, split: str, most: int, size: int, by_class: bool) -> Prompts:
    """The first pictures of a split in stored order. `InputError` where there is no such split."""
    if split not in dataset.manifest.splits:
        there = ", ".join(dataset.manifest.splits)
        raise InputError(f"{dataset.folder}: there is no split {split}; there are {there}")
    stream = ImageStream(dataset, split, ViewConfig(), size, 0, train=False)
    found = stream.stored(0, min(most, len(stream)))
    captions = found.captions
    if by_class:
        names = [dataset.classes[label] for label in found.labels]
        captions = tuple(f"{'an' if name[:1] in 'aeiou' else 'a'} {name}" for name in names)
    return Prompts(captions, found.labels, found.pixels)
