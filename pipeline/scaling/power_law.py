"""Straight lines on log axes, y = k x^exponent, by least squares in logs: one for each resample."""

from dataclasses import dataclass

import numpy as np

from pipeline.scaling.minimize import Array


@dataclass(frozen=True)
class PowerLaw:
    coefficient: float
    exponent: float

    def at(self, x: float) -> float:
        """y there."""
        return float(self.coefficient * x**self.exponent)


def power_law(x: Array, y: Array) -> PowerLaw:
    """The line through points [R]."""
    level, slope = lines(np.log(x), np.log(y)[None])[0]
    return PowerLaw(float(np.exp(level)), float(slope))


def lines(x: Array, y: Array, weights: Array | None = None) -> Array:
    """Level at x = 0 and slope [K, 2] of the line through each row of y [K, R], weighted by rows [K, R].

    x is [R], or [K, R] where every row has its own.
    """
    x, y = np.broadcast_arrays(x, y)
    own = np.ones_like(y) if weights is None else weights
    total = own.sum(1, keepdims=True)
    middle, height = (own * x).sum(1, keepdims=True) / total, (own * y).sum(1, keepdims=True) / total
    spread = (own * (x - middle) ** 2).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (own * (x - middle) * (y - height)).sum(1) / spread
    return np.stack([height[:, 0] - slope * middle[:, 0], slope], 1)
