"""Measures of predictions as sums over rows, so that drawing rows again costs a matrix product.

Each is what its library gives: accuracy, F1, Matthews' and Pearson's correlation of scikit-learn and scipy,
seqeval's F1 of entities, sacrebleu's BLEU, rouge-score's ROUGE. The tests compare them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """One figure of a set of rows."""

    name: str
    sums: Array
    """[N, K] what each row adds."""
    combine: Callable[[Array], Array]
    """Sums over rows [..., K] to the figure [...]."""

    @property
    def value(self) -> float:
        """The figure of all rows."""
        return float(self.combine(self.sums.sum(0)))


def ratio(sums: Array) -> Array:
    """The first sum over the second; 0 where that is 0."""
    found: Array = np.divide(
        sums[..., 0], sums[..., 1], out=np.zeros(sums.shape[:-1]), where=sums[..., 1] != 0
    )
    return found


def mean(name: str, values: Sequence[float]) -> Measure:
    """The mean of a value of each row."""
    column = np.asarray(values, np.float64)
    return Measure(name, np.stack([column, np.ones_like(column)], 1), ratio)


def confusions(wanted: NDArray[np.int64], found: NDArray[np.int64], classes: int) -> Array:
    """[N, C x C] a one in the cell of each row's wanted and found class."""
    table = np.zeros((len(wanted), classes * classes))
    table[np.arange(len(wanted)), wanted * classes + found] = 1
    return table


def square(sums: Array) -> Array:
    """[..., C x C] as tables [..., C, C], wanted by found."""
    size = round(sums.shape[-1] ** 0.5)
    return sums.reshape(*sums.shape[:-1], size, size)


def accuracy(sums: Array) -> Array:
    """Share of the diagonal."""
    table = square(sums)
    right: Array = np.trace(table, axis1=-2, axis2=-1)
    return right / np.maximum(table.sum((-2, -1)), 1)


def f1(sums: Array, of: int) -> Array:
    """F1 of one class."""
    table = square(sums)
    right = table[..., of, of]
    both: Array = table[..., of, :].sum(-1) + table[..., :, of].sum(-1)
    return np.divide(2 * right, both, out=np.zeros_like(both), where=both > 0)


def macro_f1(sums: Array) -> Array:
    """Mean F1 of the classes that are wanted or found, as scikit-learn has it."""
    table = square(sums)
    each = np.stack([f1(sums, one) for one in range(table.shape[-1])], -1)
    there = (table.sum(-1) + table.sum(-2)) > 0
    found: Array = (each * there).sum(-1) / np.maximum(there.sum(-1), 1)
    return found


def matthews(sums: Array) -> Array:
    """Matthews' correlation of several classes (Gorodkin 2004); 0 where one class is all there is."""
    table = square(sums)
    wanted, found, total = table.sum(-1), table.sum(-2), table.sum((-2, -1))
    together = np.trace(table, axis1=-2, axis2=-1) * total - (wanted * found).sum(-1)
    spread = (total**2 - (wanted**2).sum(-1)) * (total**2 - (found**2).sum(-1))
    value: Array = np.divide(together, np.sqrt(spread), out=np.zeros_like(together), where=spread > 0)
    return value


def moments(x: Array, y: Array) -> Array:
    """[N, 6] what Pearson's correlation is made of; both are centred first, which loses no digits."""
    x, y = x - x.mean(), y - y.mean()
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], 1)


def pearson(sums: Array) -> Array:
    """Pearson's correlation; 0 where one side is the same everywhere."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0)
    value: Array = np.divide(n * xy - x * y, np.sqrt(spread), out=np.zeros_like(spread), where=spread > 1e-18)
    return value


def entity_f1(sums: Array) -> Array:
    """From entities that are right, found and wanted: 2 right / (found + wanted)."""
    right, found, wanted = np.moveaxis(sums, -1, 0)
    value: Array = np.divide(2 * right, found + wanted, out=np.zeros_like(right), where=(found + wanted) > 0)
    return value


def calibration(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> dict[str, Any]:
    """Mean confidence and accuracy in bins of equal width, and the expected calibration error.

    The error is the mean over rows of how far the two lie apart in a row's bin (Guo et al. 2017, section 2).
    """
    sure, hit = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    place = np.minimum((sure * bins).astype(int), bins - 1)
    rows = [
        {
            "confidence": float(sure[place == one].mean()),
            "accuracy": float(hit[place == one].mean()),
            "rows": int((place == one).sum()),
        }
        for one in range(bins)
        if (place == one).any()
    ]
    error = sum(abs(one["confidence"] - one["accuracy"]) * one["rows"] for one in rows) / max(1, len(sure))
    return {"bins": rows, "expected_error": error}
