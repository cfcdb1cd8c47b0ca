"""Where a text breaks a principle: rules that look at the text alone, and make such texts.

They are the stated measure of an audit, and what a small critic learns from: a text that somebody wrote and
the same made to break the principle. Others come as entry points of the group `bloomery.breaches`, or for
this process and those that it starts from BLOOMERY_BREACHES=package.module:OBJECT,...
"""

import re
from abc import ABC, abstractmethod
from functools import cache
from itertools import chain
from typing import ClassVar

import numpy as np

from data_prep.contract.plugins import from_outside
from data_prep.contract.settings import InputError

GROUP, VARIABLE = "bloomery.breaches", "BLOOMERY_BREACHES"
WORD = re.compile(r"[^\W\d_]+")
LONGEST = 12
"""Words of a summary that is short."""
SHORTEST_CONTENT = 4
"""Letters of a word that may not stand twice; shorter ones are mostly articles and prepositions."""
ARTICLES = frozenset({"a", "an", "the", "all", "this", "each", "any", "whether", "if"})
"""What follows a verb at the beginning of a summary; a noun there has none behind it."""


class Breach(ABC):
    """A way to break a principle. A text without words breaks each."""

    name: ClassVar[str]

    @abstractmethod
    def broken(self, text: str) -> bool:
        """Whether a text breaks the principle."""

    @abstractmethod
    def make(self, text: str, other: str, draws: np.random.Generator) -> str | None:
        """A text that does, out of one that does not and perhaps of another; None where there is no way."""


class ThirdPerson(Breach):
    """A summary that tells what a function does ("Returns the sum.") where it should command."""

    name = "third_person"

    def broken(self, text: str) -> bool:
        first = WORD.search(text)
        if first is None:
            return True
        word = first[0].casefold()
        return word == "does" or (word.endswith("s") and not word.endswith(("ss", "us", "is", "as")))

    def make(self, text: str, other: str, draws: np.random.Generator) -> str | None:
        words = text.split(" ")
        if len(words) < 2 or not words[0].isalpha() or words[1].casefold() not in ARTICLES:
            return None
        return " ".join([third_person(words[0]), *words[1:]])


class Repetition(Breach):
    """A summary that has a word of four or more letters twice."""

    name = "repetition"

    def broken(self, text: str) -> bool:
        words = content(text)
        return len(set(words)) < len(words) or not WORD.search(text)

    def make(self, text: str, other: str, draws: np.random.Generator) -> str | None:
        found = [one for one in WORD.finditer(text) if len(one[0]) >= SHORTEST_CONTENT][1:]
        if len(found) < 2:
            return None
        kept, lost = (found[int(place)] for place in draws.permutation(len(found))[:2])
        return text[: lost.start()] + kept[0] + text[lost.end() :]


class LongWinded(Breach):
    """A summary of more than twelve words."""

    name = "long_winded"

    def broken(self, text: str) -> bool:
        return not 0 < len(WORD.findall(text)) <= LONGEST

    def make(self, text: str, other: str, draws: np.random.Generator) -> str | None:
        longer = f"{text.rstrip('.')}, and {other[:1].lower()}{other[1:]}"
        return longer if self.broken(longer) else None


def content(text: str) -> list[str]:
    """The words that may not stand twice.

    >>> content("Return the value of the Value.")
    ['return', 'value', 'value']
    """
    return [word.casefold() for word in WORD.findall(text) if len(word) >= SHORTEST_CONTENT]


def third_person(verb: str) -> str:
    """What somebody does, of a command.

    >>> [third_person(one) for one in ("Return", "Copy", "Pass", "Do", "Display")]
    ['Returns', 'Copies', 'Passes', 'Does', 'Displays']
    """
    if verb.endswith("y") and verb[-2:-1] not in tuple("aeiou"):
        return f"{verb[:-1]}ies"
    return f"{verb}es" if verb.endswith(("s", "sh", "ch", "x", "z", "o")) else f"{verb}s"


OWN: tuple[Breach, ...] = (ThirdPerson(), Repetition(), LongWinded())


@cache
def breaches() -> dict[str, Breach]:
    """Each by its name. `InputError` where one from outside cannot be loaded or its name is taken."""
    found: dict[str, Breach] = {}
    own = ((type(one).__name__, one) for one in OWN)
    for place, breach in chain[tuple[str, object]](own, from_outside(GROUP, VARIABLE)):
        if not isinstance(breach, Breach):
            raise InputError(
                f"{place}: no breach; an object of a subclass of {Breach.__qualname__} is expected"
            )
        if breach.name in found:
            raise InputError(f"{place}: there is a breach called {breach.name} already")
        found[breach.name] = breach
    return found


def breach_called(name: str, where: str) -> Breach:
    """The breach of a name that a recipe gives. `InputError` where there is none."""
    if name not in breaches():
        raise InputError(f"{where}: no breach is called {name}; there is {', '.join(breaches())}")
    return breaches()[name]
