"""How sure a figure is: its interval over rows drawn again (bootstrap), and the spread over seeds."""

from collections.abc import Sequence
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from pipeline.scaling.bootstrap import draws, interval
from pipeline.tasks.measures import Measure

RESAMPLES, AT_ONCE = 1000, 100

Figures = dict[str, dict[str, float]]
"""Of each measure its `value`, and where its 95 % interval begins (`low`) and ends (`high`)."""


def figures(measures: Sequence[Measure], seed: int) -> Figures:
    """Measures with their intervals; all of them on the same resamples of rows."""
    drawn = [
        [one.combine(counts @ one.sums) for one in measures]
        for counts in _resamples(len(measures[0].sums), seed)
    ]
    found: Figures = {}
    for index, one in enumerate(measures):
        low, high = interval(np.concatenate([values[index] for values in drawn]))
        found[one.name] = {"value": one.value, "low": low, "high": high}
    return found


def _resamples(rows: int, seed: int) -> Any:
    for start in range(0, RESAMPLES, AT_ONCE):
        yield draws(rows, AT_ONCE, seed + start)


def better(ours: Sequence[Measure], theirs: Sequence[Measure], seed: int) -> Figures:
    """By how much the first of two models on the same rows is better, drawn again in pairs."""
    found: Figures = {}
    counts = list(_resamples(len(ours[0].sums), seed))
    for one, other in zip(ours, theirs, strict=True):
        apart = np.concatenate(
            [one.combine(rows @ one.sums) - other.combine(rows @ other.sums) for rows in counts]
        )
        low, high = interval(apart)
        found[one.name] = {"value": one.value - other.value, "low": low, "high": high}
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, median, standard deviation and range over seeds."""
    return {
        "mean": mean(values),
        "median": median(values),
        "deviation": stdev(values) if len(values) > 1 else 0.0,
        "lowest": min(values),
        "highest": max(values),
    }
