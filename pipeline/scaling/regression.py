"""Robust regression of log losses: a law's prediction in, the coefficients with the least Huber loss out.

Hoffmann et al. 2022, section 3.3: Huber's loss with delta 1e-3 on log L, so that a run which went badly
pulls no harder than any other. The SUM over runs is minimised, in units of delta, until it no longer falls.
"""

from collections.abc import Callable

import numpy as np

from pipeline.scaling.minimize import Array, Indices, Minimum, minimize

DELTA = 1e-3
"""Where Huber's loss turns from a square into a line, in log loss."""
ROUNDS = ((8, 320), (30, 12))
"""Of a grid's starts all take 8 iterations, the best 320 another 30, and the best 12 go on to the end."""
AT_ONCE = 256
"""Problems in one array: as many as stay in the cache."""

Predict = Callable[[Array], tuple[Array, Array]]
"""Coefficients [K, P] -> log L of every run [K, R] and its derivatives [K, P, R]."""


def huber(residual: Array, delta: float = DELTA) -> tuple[Array, Array]:
    """Huber's loss and its derivative: r^2 / 2 within delta, delta (|r| - delta / 2) outside."""
    inside = np.clip(residual, -delta, delta)
    return inside * (residual - inside / 2), inside


def regress(
    predict: Predict,
    log_loss: Array,
    starts: Array,
    weights: Array | None = None,
    scale: float = 1 / DELTA,
    tolerance: float = 1e-13,
    iterations: int = 500,
) -> Minimum:
    """The least weighted sum of Huber terms, times `scale`, from each start [K, P].

    `weights` [K, R] has a row for each start, such as how often a resample has drawn a run; 1 where left out.
    """
    found = []
    for begin in range(0, len(starts), AT_ONCE):
        own = None if weights is None else weights[begin : begin + AT_ONCE]

        def objective(theta: Array, problems: Indices, own: Array | None = own) -> tuple[Array, Array]:
            predicted, by = predict(theta)
            terms, pull = huber(predicted - log_loss)
            if own is not None:
                terms, pull = own[problems] * terms, own[problems] * pull
            return scale * terms.sum(1), scale * np.einsum("kr,kpr->kp", pull, by)

        found.append(minimize(objective, starts[begin : begin + AT_ONCE], tolerance, iterations))
    return Minimum(
        np.concatenate([one.x for one in found]),
        np.concatenate([one.value for one in found]),
        np.concatenate([one.converged for one in found]),
    )


def best_of(predict: Predict, log_loss: Array, starts: Array) -> Minimum:
    """The lowest minimum from all starts, as one row: all take some steps, the best go on to the end."""
    for iterations, kept in ROUNDS:
        if len(starts) > kept:
            tried = regress(predict, log_loss, starts, iterations=iterations)
            order = np.argsort(np.where(np.isfinite(tried.value), tried.value, np.inf))
            starts = tried.x[order[:kept]]
    found = regress(predict, log_loss, starts)
    best = [int(np.nanargmin(found.value))]
    return regress(predict, log_loss, found.x[best])  # once more, in case its last matrix had gone bad


def differentiated(law: Callable[..., Array], count: int) -> Predict:
    """A prediction with its derivatives by complex steps (Squire and Trapp 1998), exact to rounding.

    `law` takes `count` columns [K, 1], real or complex, and gives log L [K, R].
    """

    def predict(theta: Array) -> tuple[Array, Array]:
        columns = [theta[:, place, None] for place in range(count)]
        step = 1e-30
        moved = [
            law(*(one + (1j * step if place == at else 0) for at, one in enumerate(columns)))
            for place in range(count)
        ]
        return law(*columns), np.stack([one.imag / step for one in moved], 1)

    return predict


def log_sum(*terms: Array) -> Array:
    """log of the sum of exp of arrays that broadcast; complex ones too."""
    wide = np.broadcast_arrays(*terms)
    top = np.max([one.real for one in wide], 0)
    total: Array = top + np.log(sum(np.exp(one - top) for one in wide))
    return total
