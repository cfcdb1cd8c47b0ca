"""A scene to its caption and to every true statement; a statement to its truth. The package has the rules."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

from data_prep.contract.shapes.scene import COLOURS, RELATIONS, SHAPES, SIZES, Scene, Thing

NUMBERS = {2: "two", 3: "three", 4: "four"}
PLURALS = {"cross": "crosses"}
PLACES = {
    (-1, -1): "in the upper left",
    (0, -1): "at the top",
    (1, -1): "in the upper right",
    (-1, 0): "at the left",
    (0, 0): "in the middle",
    (1, 0): "at the right",
    (-1, 1): "in the lower left",
    (0, 1): "at the bottom",
    (1, 1): "in the lower right",
}
FIRST_MIDDLE, LAST_MIDDLE = 13, 18
"""Centres from the one to the other, in pixels, are in the middle."""


@dataclass(frozen=True)
class Noun:
    """What a statement says of a thing; an empty string where it does not say it."""

    size: str
    colour: str
    shape: str

    def fits(self, thing: Thing) -> bool:
        """Whether a thing is such a one."""
        return (
            thing.shape == self.shape and self.colour in ("", thing.colour) and self.size in ("", thing.size)
        )


def caption(scene: Scene, place: bool = False) -> str:
    """The statement that says most; of a lone thing without its place, unless that is wanted."""
    first = scene.things[0]
    if len(scene.things) == 1:
        return _one(_noun(first), place_of(first) if place else "")
    if first.colour == scene.things[1].colour:
        return _many(_noun(first), len(scene.things))
    return f"{_one(_noun(first))} {relation_of(*scene.things)} {_one(_noun(scene.things[1]))}"


def statements(scene: Scene) -> set[str]:
    """Every true statement."""
    found: set[str] = set()
    for thing in scene.things:
        for noun in _nouns(thing):
            number = sum(noun.fits(other) for other in scene.things)
            found.add(_one(noun))
            if len(scene.things) == 1:
                found.add(_one(noun, place_of(thing)))
            if number in NUMBERS:
                found.add(_many(noun, number))
    for one, other in permutations(scene.things, 2):
        if one.colour != other.colour:
            found |= {
                f"{_one(noun)} {relation_of(one, other)} {_one(second)}"
                for noun in _nouns(one)
                for second in _nouns(other)
                if noun.colour and second.colour
            }
    return found


def nouns_of(statement: str) -> tuple[tuple[Noun, ...], int]:
    """The nouns that a statement names, and how many things it speaks of; none where it is no statement.

    >>> nouns_of("a large red circle left of a small blue ring")[1]
    2
    """
    found = _match(statement)
    if found is None:
        return (), 0
    nouns = _nouns_in(found)
    if found["number"]:
        return (nouns[2],), {word: number for number, word in NUMBERS.items()}[found["number"]]
    return ((nouns[0], nouns[1]), 2) if found["relation"] else ((nouns[0],), 1)


def is_true(statement: str, scene: Scene) -> bool | None:
    """Whether a statement holds; None where it is none that the rules know, such as `a pink circle`."""
    found = _match(statement)
    if found is None:
        return None
    nouns = _nouns_in(found)
    if found["number"]:
        return {word: number for number, word in NUMBERS.items()}[found["number"]] == sum(
            nouns[2].fits(thing) for thing in scene.things
        )
    here = [thing for thing in scene.things if nouns[0].fits(thing)]
    if found["place"]:
        return len(scene.things) == 1 and any(place_of(thing) == found["place"] for thing in here)
    if not found["relation"]:
        return bool(here)
    if not (nouns[0].colour and nouns[1].colour and nouns[0].colour != nouns[1].colour):
        return None
    return any(
        nouns[1].fits(other) and relation_of(thing, other) == found["relation"]
        for thing in here
        for other in scene.things
    )


def _match(statement: str) -> re.Match[str] | None:
    return _STATEMENT.fullmatch(" ".join(statement.lower().split()).rstrip("."))


def _nouns_in(found: re.Match[str]) -> list[Noun]:
    """Its three places for a noun: the first, the one behind a relation, the one in the plural."""
    return [
        Noun(*(found[f"{name}{index}"] or "" for name in ("size", "colour", "shape"))) for index in (1, 2, 3)
    ]


def place_of(thing: Thing) -> str:
    """Where a thing is, in words."""
    return PLACES[_third(thing.x), _third(thing.y)]


def relation_of(one: Thing, other: Thing) -> str:
    """Where a thing is, seen from another; empty where both directions are alike."""
    dx, dy = one.x - other.x, one.y - other.y
    if abs(dx) == abs(dy):
        return ""
    step = ((dx > 0) - (dx < 0), 0) if abs(dx) > abs(dy) else (0, (dy > 0) - (dy < 0))
    return next(words for words, direction in RELATIONS.items() if direction == step)


def _third(centre: int) -> int:
    return (centre > LAST_MIDDLE) - (centre < FIRST_MIDDLE)


def _noun(thing: Thing) -> Noun:
    return Noun(thing.size, thing.colour, thing.shape)


def _nouns(thing: Thing) -> Iterator[Noun]:
    for size in ("", thing.size):
        for colour in ("", thing.colour):
            yield Noun(size, colour, thing.shape)


def _one(noun: Noun, place: str = "") -> str:
    words = " ".join(filter(None, (noun.size, noun.colour, noun.shape, place)))
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _many(noun: Noun, number: int) -> str:
    shape = PLURALS.get(noun.shape, f"{noun.shape}s")
    return " ".join(filter(None, (NUMBERS[number], noun.size, noun.colour, shape)))


def _either(words: object, name: str) -> str:
    assert isinstance(words, list | tuple | dict)
    return f"(?P<{name}>{'|'.join(words)})"


def _pattern(number: int, plural: bool = False) -> str:
    shapes = [*map(re.escape, SHAPES)]
    ending = "(?:(?<=cross)es|(?<!cross)s)" if plural else ""
    return (
        f"(?:{_either(SIZES, f'size{number}')} )?(?:{_either(COLOURS, f'colour{number}')} )?"
        f"{_either(shapes, f'shape{number}')}{ending}"
    )


_BEHIND = f"{_either([*PLACES.values()], 'place')}|{_either(RELATIONS, 'relation')} an? {_pattern(2)}"
_STATEMENT = re.compile(
    f"an? {_pattern(1)}(?: (?:{_BEHIND}))?"
    f"|{_either([*NUMBERS.values()], 'number')} {_pattern(3, plural=True)}"
)
