"""Muennighoff et al. 2023, section 4 and appendix A: the law for data that is read more than once.

L = E + A / N'^alpha + B / D'^alpha, where a token that is read again is worth less and less, and so are
parameters beyond what the distinct tokens U can use:

    D' = U + U R*_D (1 - exp(-R_D / R*_D))         R_D = D / U - 1, passes after the first
    N' = U_N + U_N R*_N (1 - exp(-R_N / R*_N))     R_N = N / U_N - 1

with U_N = min(N, the best N for U tokens).

The paper fits A, B, E, alpha to runs of one pass, then R*_D and R*_N (15.4 and 5.3 on C4). Here that gives
the start, and all six are fitted to all runs, so that intervals hold the uncertainty of both parts.
"""

from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.scaling import hoffmann
from pipeline.scaling.minimize import Array
from pipeline.scaling.regression import DELTA, Predict, best_of, differentiated, log_sum, regress
from pipeline.scaling.surface import Columns, Fitted, Surface

START_REPEATS = np.log([2.0, 6.0, 20.0])
LEAST = 6
"""Runs that read nothing twice, and runs that do, without which there is no law."""
LARGEST = 12.0
"""Of log R*: beyond it repeating costs nothing, and no run tells one value from another."""


def once(columns: Columns) -> npt.NDArray[np.bool_]:
    """Which runs read nothing twice [R]."""
    found: npt.NDArray[np.bool_] = columns["tokens"] <= columns["unique_tokens"] * (1 + 1e-9)
    return found


def split(columns: Columns) -> tuple[Array, Array]:
    """Distinct tokens that a run has read [R], and its passes after the first [R]."""
    unique = np.minimum(columns["unique_tokens"], columns["tokens"])
    return unique, columns["tokens"] / unique - 1


def worth(distinct: Array, repeats: Array, star: Array) -> Array:
    """log of distinct * (1 + R* (1 - exp(-repeats / R*)))."""
    value: Array = np.log(distinct) + np.log(1 + star * (1 - np.exp(-repeats / star)))
    return value


def log_loss(columns: Columns, *theta: Array) -> Array:
    """log L [K, R] for columns [K, 1] of log A, log B, log E, alpha, log R*_D, log R*_N; complex ones too."""
    a, b, e, alpha, *stars = theta
    n = columns["parameters"]
    unique, passes = split(columns)
    star_d, star_n = (np.exp(np.where(one.real > LARGEST, LARGEST, one)) for one in stars)
    usable = np.exp((a - b) / alpha) * unique  # the best N for U tokens where alpha = beta: G^2 U
    own = np.where(usable.real < n, usable, n)
    models, data = worth(own, n / own - 1, star_n), worth(unique, passes, star_d)
    return log_sum(a - alpha * models, b - alpha * data, e)


def prediction(columns: Columns) -> Predict:
    """log L of runs [R] and its derivatives, for rows of theta."""
    return differentiated(partial(log_loss, columns), 6)


def starts(columns: Columns) -> Array:
    """The law of the runs that read nothing twice, with a grid of R*_D and R*_N [K, 6].

    Where these are held out, so that too few are left, it is the law of all runs.
    """
    first = once(columns)
    if first.sum() < LEAST:
        first = np.ones_like(first)
    n, d, loss = (columns[name][first] for name in ("parameters", "tokens", "loss"))
    base = hoffmann.fit(n, d, loss, tie=True).theta[:4]
    return np.array([[*base, d_star, n_star] for d_star in START_REPEATS for n_star in START_REPEATS])


def fit(columns: Columns) -> Fitted:
    """All six coefficients; columns parameters, tokens, unique_tokens, loss."""
    found = best_of(prediction(columns), np.log(columns["loss"]), starts(columns))
    return Fitted(found.x[0], float(found.value[0]) * DELTA, bool(found.converged[0]))


def resampled(columns: Columns, theta: Array, weights: Array) -> Array:
    """Coefficients [K, 6] for each resample, from those of all runs."""
    start = np.tile(theta, (len(weights), 1))
    return regress(prediction(columns), np.log(columns["loss"]), start, weights).x


def shown(theta: Array) -> Array:
    """(A, B, E, alpha, R*_D, R*_N) [K, 6]."""
    return np.concatenate([np.exp(theta[:, :3]), theta[:, 3:4], np.exp(np.minimum(theta[:, 4:], LARGEST))], 1)


def loss(theta: Array, columns: Columns) -> Array:
    """Losses [K, R] by rows of theta [K, 6]."""
    return np.exp(log_loss(columns, *(one[:, None] for one in theta.T)))


def best(theta: Array, budget: float, unique: float) -> Array:
    """Parameters, tokens and loss [K, 3] of the best model for a budget (6ND) and so many distinct tokens.

    Among 600 sizes, 1 % apart at most where it matters: the loss is flat there.
    """
    n = np.sqrt(budget / 6) * np.geomspace(1e-3, 1e1, 600)
    columns = {"parameters": n, "tokens": budget / (6 * n), "unique_tokens": np.full_like(n, unique)}
    losses = loss(theta, columns)
    lowest = losses.argmin(1)
    return np.stack([n[lowest], columns["tokens"][lowest], losses[np.arange(len(theta)), lowest]], 1)


SURFACE = Surface(
    "repeated data",
    ("A", "B", "E", "alpha", "R*_D", "R*_N"),
    6,
    shown,
    fit,
    resampled,
    loss,
)
