"""Straight lines on log axes, y = k x^exponent, by least squares in logs: one for each resample."""

import numpy as np

from pipeline.scaling.minimize import Array


def lines(x: Array, y: Array) -> Array:
    """Level at x = 0 and slope [K, 2] of the line over x [R] through each row of y [K, R]."""
    middle, height = x.mean(), y.mean(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = ((x - middle) * (y - height)).sum(1) / ((x - middle) ** 2).sum()
    return np.stack([height[:, 0] - slope * middle, slope], 1)


def level(line: Array) -> Array:
    """(k, exponent) [K, 2] from rows of (log k, exponent)."""
    with np.errstate(over="ignore"):
        return np.stack([np.exp(line[:, 0]), line[:, 1]], 1)
