"""The share of answers that break a principle, by rules that look at texts alone: no model has a say."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.preferences.constitution.breaches import Breach
from pipeline.preferences.frontier import distinct, interval

ANY = "any of them"


class Audit(NamedTuple):
    """What became of a run's answers, N to each of P prompts."""

    broken: dict[str, NDArray[np.float64]]
    """[P] the share of each prompt's answers that break a principle, by its name; ANY among them."""
    words: float
    """Of an answer."""
    distinct: float
    """Share of different pairs of neighbouring words among all."""
    ended: float
    """Share of answers that came to their end."""


def audit(
    known: Sequence[tuple[str, Breach]], texts: Sequence[str], ended: Sequence[bool], each: int
) -> Audit:
    """Texts in the order of the prompts, `each` to one."""
    found = np.array([[breach.broken(text) for text in texts] for _, breach in known])
    names = [*(name for name, _ in known), ANY]
    shares = [row.reshape(-1, each).mean(axis=1) for row in (*found, found.any(axis=0))]
    words = sum(len(text.split()) for text in texts) / len(texts)
    return Audit(dict(zip(names, shares, strict=True)), words, distinct(texts), sum(ended) / len(ended))


def shares(of: Audit) -> dict[str, tuple[float, float, float]]:
    """The share of broken answers with its 95 % interval, prompts being drawn."""
    return {name: interval(one) for name, one in of.broken.items()}


def fall(of: Audit, start: Audit) -> dict[str, tuple[float, float, float]]:
    """How much less is broken than by another run on the same prompts, with the interval of the pairs."""
    return {name: interval(start.broken[name] - one) for name, one in of.broken.items()}
