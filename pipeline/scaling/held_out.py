"""Whether a law predicts: the runs with the most compute are left out, predicted from the rest, compared."""

from dataclasses import dataclass

import numpy as np

from pipeline.scaling.minimize import Array
from pipeline.scaling.prediction import predict
from pipeline.scaling.surface import Surface
from pipeline.scaling.table import Runs

SHARE = 0.1
"""Of the runs that are held out; one at least."""


@dataclass(frozen=True)
class HeldOut:
    """Arrays [R] over the runs that were left out, the least compute first."""

    runs: Runs
    predicted: Array
    low: Array
    high: Array
    fitted: int
    """Runs that the law was fitted to."""
    reach: float
    """The most compute held out, in units of the most that was fitted."""

    @property
    def error(self) -> float:
        """Mean of |predicted - loss| / loss."""
        loss = self.runs.columns["loss"]
        return float(np.mean(np.abs(self.predicted - loss) / loss))

    @property
    def inside(self) -> int:
        """Runs whose loss lies in the interval."""
        loss = self.runs.columns["loss"]
        return int(((self.low <= loss) & (loss <= self.high)).sum())


def hold_out(surface: Surface, runs: Runs, resamples: int, seed: int) -> HeldOut:
    """The prediction of the runs with the most compute from all others."""
    order = np.argsort(runs.columns["flops"], kind="stable")
    count = max(1, round(SHARE * len(runs)))
    known, left = runs.only(order[:-count]), runs.only(order[-count:])
    found = predict(surface, known.columns, left.columns, resamples, seed)
    reach = float(left.columns["flops"].max() / known.columns["flops"].max())
    return HeldOut(left, found.loss, found.low, found.high, len(known), reach)
