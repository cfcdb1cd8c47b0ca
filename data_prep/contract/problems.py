"""What is wrong with something given, as a part of a sentence.

first_problem   the first thing that pydantic has found
did_you_mean    the word that may have been meant
"""

import difflib
from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic import ValidationError


class Problem(NamedTuple):
    """Where a value does not fit and why."""

    place: tuple[str, ...]
    """The keys that lead to it; none where it is the whole."""
    message: str
    """What pydantic says of it."""
    value: Any
    kind: str
    """Pydantic's name of the kind of problem."""

    @property
    def key(self) -> str:
        """Its place as a recipe says it, `model.layers`."""
        return ".".join(self.place)

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


def first_problem(error: ValidationError) -> Problem:
    """The first of the problems that an error tells of."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    return Problem(tuple(map(str, first["loc"])), message, first["input"], first["type"])


def did_you_mean(word: str, known: Iterable[str], before: str = "", likeness: float = 0.6) -> str:
    """The end of a sentence that names the most similar word, with `before` before it; empty where none is.

    >>> did_you_mean("layer", ["layers", "heads"], before="model.")
    '; did you mean model.layers?'
    """
    near = difflib.get_close_matches(word, [*known], n=1, cutoff=likeness)
    return f"; did you mean {before}{near[0]}?" if near else ""
