"""What a law says of runs that it was not fitted to, with intervals for what will be measured there.

An interval has to hold a new run's loss, and not the law's mean: to the spread of the resampled laws comes
the chance in a single run, drawn from the errors that the law made on the runs it knows. Those are too small,
since the law was fitted to them: they are widened by sqrt(R / (R - P)) for R runs and P coefficients, and as
the size of the noise is known from R - P errors alone, deviations are stretched by Student's t over the
normal's quantile.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.intervals import NORMAL_QUANTILE
from pipeline.scaling.bootstrap import ENDS, draws
from pipeline.scaling.minimize import Array
from pipeline.scaling.surface import Columns, Fitted, Surface


@dataclass(frozen=True)
class Predicted:
    """Losses [R] of runs by a law, with 95 % intervals for what is measured."""

    loss: Array
    low: Array
    high: Array
    law: Fitted


def predict(surface: Surface, known: Columns, wanted: Columns, resamples: int, seed: int) -> Predicted:
    """Losses of the runs `wanted` by the law of the runs `known`."""
    runs, law = len(known["loss"]), surface.fit(known)
    laws = surface.resampled(known, law.theta, draws(runs, resamples, seed))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        own = np.log(surface.loss(law.theta[None], wanted)[0])
        errors = np.log(known["loss"]) - np.log(surface.loss(law.theta[None], known)[0])
        freedom = max(runs - surface.free, 1)
        widened = (errors - errors.mean()) * np.sqrt(runs / freedom)
        noise = np.random.default_rng(seed + 1).choice(widened, size=(resamples, len(own)))
        spread = np.log(surface.loss(laws, wanted)) - own + noise
        stretched = spread * student_quantile(freedom) / NORMAL_QUANTILE
        low, high = np.nanquantile(stretched, ENDS, axis=0)
        return Predicted(np.exp(own), np.exp(own + low), np.exp(own + high), law)


def student_quantile(freedom: int) -> float:
    """Student's t at 97.5 % by Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5).

    >>> round(student_quantile(10), 2)
    2.23
    """
    if freedom < 3:
        return (12.7062, 4.3027)[freedom - 1]
    x, n = NORMAL_QUANTILE, float(freedom)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return float(x + sum(term / n**power for power, term in enumerate(terms, 1)))
