"""Whether a law predicts: the runs with the most compute are left out, predicted from the rest, compared."""

from dataclasses import dataclass

import numpy as np

from pipeline.scaling.bootstrap import ENDS, draws
from pipeline.scaling.minimize import Array
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
    """The prediction of the largest runs, with intervals of the law's uncertainty and a run's noise.

    Each of the resampled laws predicts, and an error that it made on a run it knew is added (in logs).
    """
    order = np.argsort(runs.columns["flops"], kind="stable")
    count = max(1, round(SHARE * len(runs)))
    known, left = runs.only(order[:-count]), runs.only(order[-count:])
    law = surface.fit(known.columns).theta
    laws = surface.resampled(known.columns, law, draws(len(known), resamples, seed))
    errors = np.log(known.columns["loss"]) - np.log(surface.loss(law[None], known.columns)[0])
    noise = np.random.default_rng(seed + 1).choice(errors, size=(resamples, count))
    with np.errstate(over="ignore", invalid="ignore"):
        drawn = surface.loss(laws, left.columns) * np.exp(noise)
    low, high = np.nanquantile(drawn, ENDS, axis=0)
    flops = left.columns["flops"], known.columns["flops"]
    predicted = surface.loss(law[None], left.columns)[0]
    return HeldOut(left, predicted, low, high, len(known), float(flops[0].max() / flops[1].max()))
