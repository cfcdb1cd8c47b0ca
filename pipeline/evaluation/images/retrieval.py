"""Whether the nearest texts of an image are its own, and the nearest images of a text."""

from collections import Counter
from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.intervals import wilson

TOP = (1, 5, 10)


class Recall(NamedTuple):
    """How often something right is among the k nearest."""

    k: int
    share: float
    low: float
    high: float
    chance: float
    """The same of an even guess."""


def recalls(
    scores_QC: NDArray[np.float32], queries: Sequence[str], candidates: Sequence[str]
) -> list[Recall]:
    """Of scores of each query with each candidate; a candidate is right where its caption is the query's.

    Captions repeat in small sets, and the same caption of another image is no mistake.
    """
    right = np.array(queries)[:, None] == np.array(candidates)[None, :]
    order = np.argsort(-scores_QC, axis=1, kind="stable")
    hits = np.take_along_axis(right, order, axis=1)
    count, among = hits.shape
    alike = Counter(candidates)
    found = []
    for k in TOP:
        if k > among:
            break
        share = float(hits[:, :k].any(1).mean())
        chances = [1 - comb(among - alike[one], k) / comb(among, k) for one in queries]
        found.append(Recall(k, share, *wilson(share * count, count), float(np.mean(chances))))
    return found


def swapped(caption: str, relations: Sequence[str]) -> str | None:
    """A caption with what stands on either side of a relation exchanged; None where it has none.

    >>> swapped("a red ring above a blue cross", ["above"])
    'a blue cross above a red ring'
    """
    for relation in relations:
        before, word, after = caption.partition(f" {relation} ")
        if word:
            return f"{after}{word}{before}"
    return None
