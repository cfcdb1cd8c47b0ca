"""The same answers scored all or nothing and token by token, for how abilities come in with scale.

Wei et al. 2022 find scores that stay at chance and then leap; Schaeffer et al. 2023 that much of it is the
score: where each token is right with probability p, n of them in a row are with about p^n, which is flat and
then steep while the loss falls evenly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.hidden import predictions
from pipeline.evaluation.intervals import wilson
from pipeline.evaluation.scoring import LanguageModel
from pipeline.objectives.batches import Batch


@dataclass(frozen=True)
class Exact:
    """Answers of `tokens` predicted tokens in a row that are right as a whole."""

    tokens: int
    right: int
    answers: int

    @property
    def share(self) -> float:
        """Right answers over all."""
        return self.right / self.answers

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %."""
        return wilson(self.right, self.answers)


@dataclass(frozen=True)
class Scores:
    """What a model scores on held-out samples of its objective."""

    loss: float
    """Mean of -ln p of the right tokens, in nats: the smooth score."""
    exact: list[Exact]
    """The all-or-nothing scores, the shortest answers first."""


def scores(model: LanguageModel, batches: Sequence[Batch], lengths: Sequence[int]) -> Scores:
    """Both kinds of scores, each token likeliest by itself given the right ones before it."""
    nats, right = 0.0, {length: np.zeros(2, dtype=np.int64) for length in lengths}
    tokens = 0
    for batch in batches:
        losses, correct = predictions(model, batch)
        nats, tokens = nats + float(losses.sum()), tokens + len(losses)
        rows = np.nonzero(batch["weights"] > 0)[0]
        for length in lengths:
            right[length] += streaks(correct, rows, length)
    exact = [Exact(length, int(one[0]), int(one[1])) for length, one in right.items() if one[1]]
    return Scores(nats / tokens, exact)


def streaks(correct: NDArray[np.bool_], rows: NDArray[np.int64], length: int) -> tuple[int, int]:
    """Answers of so many predictions that are all right, and answers in all; what a row has left is none.

    >>> streaks(np.array([1, 1, 0, 1, 1], dtype=bool), np.array([0, 0, 0, 1, 1]), 2)
    (2, 2)
    """
    whole = right = 0
    for row in np.unique(rows):
        own = correct[rows == row]
        answers = own[: len(own) // length * length].reshape(-1, length)
        whole, right = whole + len(answers), right + int(answers.all(1).sum())
    return right, whole
