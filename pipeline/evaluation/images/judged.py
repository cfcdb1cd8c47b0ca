"""Generated pictures of shapes beside the captions that they were made of, with no learned judge.

The oracle of `data_prep.contract.shapes` reads a picture; a caption's nouns say what should be there. Shares
are compared with those of the same pictures beside other captions: what a model that did not read would have.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.settings import InputError
from data_prep.contract.shapes import COLOURS, SHAPES, SIZES, Scene, is_true, nouns_of, read

Hits = NDArray[np.bool_]
CHANCES = {"colour": 1 / len(COLOURS), "shape": 1 / len(SHAPES), "size": 1 / len(SIZES)}
"""Of an even guess about one thing."""


@dataclass(frozen=True)
class Verdicts:
    """[B] whether each picture has what its caption says."""

    colour: Hits
    """Of every noun, some thing of its colour."""
    shape: Hits
    size: Hits
    count: Hits
    """As many things as the caption speaks of."""
    caption: Hits
    """As many, and the caption is true of them."""

    def items(self) -> list[tuple[str, Hits]]:
        """Each by its name."""
        return [(one.name, getattr(self, one.name)) for one in fields(self)]

    def __getitem__(self, rows: Hits) -> "Verdicts":
        """Of some of the pictures."""
        return Verdicts(*(hits[rows] for _, hits in self.items()))


def scenes(pictures: NDArray[np.uint8]) -> list[Scene]:
    """What the oracle reads in pictures [B, H, H, 3], H a multiple or a divisor of 32.

    Smaller ones are made larger by repeating pixels.
    """
    height = pictures.shape[1]
    if height < 32:
        if 32 % height:
            raise InputError(f"pictures of {height} pixels are not read; 32 is no multiple of it")
        pictures = pictures.repeat(32 // height, 1).repeat(32 // height, 2)
    elif height % 32:
        raise InputError(f"pictures of {height} pixels are not read; multiples and divisors of 32 are")
    return [read(picture) for picture in pictures]


def judged(found: Sequence[Scene], captions: Sequence[str]) -> Verdicts:
    """Each scene beside its caption. `InputError` for a caption that the rules of shapes do not know."""
    rows = [_verdict(scene, caption) for scene, caption in zip(found, captions, strict=True)]
    return Verdicts(*np.array(rows, bool).reshape(len(rows), len(fields(Verdicts))).T)


def _verdict(scene: Scene, caption: str) -> list[bool]:
    nouns, number = nouns_of(caption)
    if not nouns:
        raise InputError(f"{caption!r} is no caption of shapes, such as 'a large red circle'")
    attributes = [
        all(not (wanted := getattr(noun, name)) or _has(scene, name, wanted) for noun in nouns)
        for name in ("colour", "shape", "size")
    ]
    counted = len(scene.things) == number
    return [*attributes, counted, counted and bool(is_true(caption, scene))]


def _has(scene: Scene, name: str, wanted: str) -> bool:
    return any(getattr(thing, name) == wanted for thing in scene.things)


def named(captions: Sequence[str], attribute: str) -> bool:
    """Whether some caption says a `colour`, a `shape` or a `size`; of a count no caption is silent."""
    nouns = (noun for caption in captions for noun in nouns_of(caption)[0])
    return attribute == "count" or any(getattr(noun, attribute, "") for noun in nouns)


def shuffled(found: Sequence[Scene], captions: Sequence[str], seed: int, times: int = 20) -> dict[str, float]:
    """The mean shares of the same pictures beside captions in as many other orders."""
    rng, sums = np.random.default_rng(seed), dict[str, float]()
    for _ in range(times):
        order = rng.permutation(len(captions))
        for name, hits in judged(found, [captions[row] for row in order]).items():
            sums[name] = sums.get(name, 0.0) + float(hits.mean()) / times
    return sums


def diversity(pictures: NDArray[np.uint8], captions: Sequence[str]) -> float:
    """Root mean square difference of two pictures of one caption, colours in [0, 1]; a mean over pairs.

    0 where no caption has two pictures.
    """
    groups: dict[str, list[int]] = {}
    for row, caption in enumerate(captions):
        groups.setdefault(caption, []).append(row)
    colours = pictures.astype(np.float32) / np.float32(255)
    apart = [
        float(np.sqrt(np.square(colours[one] - colours[other]).mean()))
        for rows in groups.values()
        for one, other in combinations(rows, 2)
    ]
    return float(np.mean(apart)) if apart else 0.0
