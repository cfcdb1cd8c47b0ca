"""What is in a picture of shapes, drawn from (seed, split, number)."""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Literal

SIDE = 32
"""Pixels of a picture's side."""
SHAPES = ("circle", "square", "triangle", "cross", "ring", "diamond")
COLOURS = {
    "red": (220, 50, 50),
    "green": (50, 180, 70),
    "blue": (60, 90, 225),
    "yellow": (235, 215, 60),
    "purple": (150, 60, 190),
    "orange": (240, 140, 40),
    "cyan": (70, 210, 220),
    "white": (240, 240, 240),
}
SIZES = {"small": 4, "large": 7}
"""Radius in pixels."""
RELATIONS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
"""Where the first thing is, seen from the second: x to the right, y downwards."""
COMPOSITION = "composition"
"""The split whose pictures have pairs of colour and shape that no other split has."""
HELD_OUT = 5
"""About a tenth of the 48 pairs."""

Kind = Literal["one", "two", "several"]
KINDS: tuple[Kind, ...] = ("one", "two", "several")
LOW, HIGH, ACROSS = 7, 23, 12
"""Where centres begin that stand beside another thing: along the line of the two, and across it."""


@dataclass(frozen=True, order=True)
class Thing:
    """One shape; `x` and `y` are its centre in pixels, from the left and from the top."""

    shape: str
    colour: str
    size: str
    x: int
    y: int

    @property
    def pair(self) -> tuple[str, str]:
        """What compositions are made of."""
        return self.colour, self.shape


@dataclass(frozen=True)
class Scene:
    """The things in a picture. None covers another."""

    things: tuple[Thing, ...]


def scene_of(seed: int, split: str, number: int, kinds: Sequence[Kind] = KINDS) -> Scene:
    """Scene `number` of a split: of one of the `kinds`, each as likely.

    Those of the split `composition` have at least one held-out pair of colour and shape, the others none.
    """
    unseen = held_out_pairs(seed)
    for attempt in count():
        scene = _scene(Draws(seed, split, number, attempt), kinds)
        if any(thing.pair in unseen for thing in scene.things) == (split == COMPOSITION):
            return scene
    raise AssertionError("unreachable")


@cache
def held_out_pairs(seed: int) -> frozenset[tuple[str, str]]:
    """(colour, shape) of five pairs with five colours and five shapes: each is seen in other pairs."""
    draws = Draws(seed, "held out", 0, 0)
    return frozenset(zip(draws.shuffled(COLOURS)[:HELD_OUT], draws.shuffled(SHAPES)[:HELD_OUT], strict=True))


class Draws:
    """Numbers that are a hash of what they are for; up to 30 of them."""

    def __init__(self, seed: int, split: str, number: int, attempt: int) -> None:
        name = f"{seed}/{split}/{number}/{attempt}".encode()
        self._words: Iterator[int] = iter(struct.unpack("<30I", hashlib.shake_128(name).digest(120)))

    def below(self, limit: int) -> int:
        return next(self._words) % limit

    def one_of(self, choices: Sequence[str]) -> str:
        return choices[self.below(len(choices))]

    def shuffled(self, choices: Sequence[str] | dict[str, tuple[int, int, int]]) -> list[str]:
        keys = [next(self._words) for _ in choices]
        return [choice for _, choice in sorted(zip(keys, choices, strict=True))]


def _scene(draws: Draws, kinds: Sequence[Kind]) -> Scene:
    kind = kinds[draws.below(len(kinds))]
    if kind == "one":
        return Scene((_thing(draws, [*COLOURS], 9 + draws.below(14), 9 + draws.below(14)),))
    if kind == "two":
        return _two(draws)
    like = _thing(draws, [*COLOURS], 0, 0)
    places = draws.shuffled(("00", "01", "10", "11"))[: 2 + draws.below(3)]
    things = [
        Thing(like.shape, like.colour, like.size, *(_at(draws, place == "1") for place in places_of))
        for places_of in places
    ]
    return Scene(tuple(things))


def _two(draws: Draws) -> Scene:
    """The first thing is left of, right of, above or below the second."""
    dx, dy = RELATIONS[draws.one_of([*RELATIONS])]
    things: list[Thing] = []
    for sign in (1, -1):
        along, across = _at(draws, sign * (dx + dy) > 0), ACROSS + draws.below(8)
        x, y = (along, across) if dx else (across, along)
        colours = [name for name in COLOURS if all(name != other.colour for other in things)]
        things.append(_thing(draws, colours, x, y))
    return Scene(tuple(things))


def _at(draws: Draws, high: bool) -> int:
    return (HIGH if high else LOW) + draws.below(2)


def _thing(draws: Draws, colours: Sequence[str], x: int, y: int) -> Thing:
    return Thing(draws.one_of(SHAPES), draws.one_of(colours), draws.one_of([*SIZES]), x, y)
