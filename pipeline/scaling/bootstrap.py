"""Intervals by drawing again (Efron 1979): runs with replacement, or the residuals of a fit; seeded.

A resample of runs is a row of counts, how often each was drawn, so that thousands of fits are one array.
"""

import numpy as np

from pipeline.scaling.minimize import Array

LEVEL = 0.95
"""Share of resamples that an interval holds."""
ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
"""The quantiles that are its bounds."""


def draws(rows: int, resamples: int, seed: int) -> Array:
    """How often each of the runs is in each resample [K, R]."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(rows, np.full(rows, 1 / rows), size=resamples).astype(np.float64)


def redrawn(fitted: Array, residuals: Array, coefficients: int, resamples: int, seed: int) -> Array:
    """Values [K, R] around a fit with its residuals [R] drawn again, widened by the freedom it used up."""
    generator, rows = np.random.default_rng(seed), len(residuals)
    centred = (residuals - residuals.mean()) * np.sqrt(rows / max(rows - coefficients, 1))
    return fitted + centred[generator.integers(rows, size=(resamples, rows))]


def interval(values: Array) -> tuple[float, float]:
    """The bounds between which so many of the values [K] lie; those that are not finite are left out."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return (float("nan"), float("nan"))
    low, high = np.quantile(finite, ENDS)
    return float(low), float(high)
