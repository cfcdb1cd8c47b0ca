"""Kaplan et al. 2020, sections 1.2, 3 and 4.1: power laws of the loss that go to zero, without a floor.

    L(N) = (N_c / N)^alpha_N       the best loss of each size: enough data
    L(D) = (D_c / D)^alpha_D       the best loss of each token count: a large model, stopped early
    L(C) = (C_c / C)^alpha_C       the lowest loss that so much compute has reached
    L(N, D) = [(N_c / N)^(alpha_N / alpha_D) + D_c / D]^alpha_D     equation 1.5

N counts no embeddings; where a table has both counts that one is taken. Theirs: alpha_N .076, alpha_D .095
(.103 in the joint law), alpha_C .050 for compute at batches far below the critical one.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.scaling.minimize import Array
from pipeline.scaling.power_law import lines
from pipeline.scaling.regression import DELTA, Predict, best_of, differentiated, log_sum, regress
from pipeline.scaling.surface import Columns, Fitted, Surface

SAME_COMPUTE = 0.02
"""Share by which runs of one budget may differ in FLOPs."""
START_LEVELS, START_EXPONENTS = (-1.0, 0.3, 1.0), (0.04, 0.1, 0.3, 0.6)


@dataclass(frozen=True)
class Single:
    """L = (x_c / x)^exponent through points [M]; `theta` [2] is (log x_c, exponent)."""

    x: Array
    loss: Array
    theta: Array

    @property
    def residuals(self) -> Array:
        """Errors of log L."""
        return np.log(self.loss) - self.theta[1] * (self.theta[0] - np.log(self.x))


def best_losses(x: Array, loss: Array) -> tuple[Array, Array]:
    """Each different x [M] and the lowest loss there; values that agree to a millionth are one."""
    groups = np.round(np.log(x), 6)
    keys = np.unique(groups)
    lowest = [np.flatnonzero(groups == key)[np.argmin(loss[groups == key])] for key in keys]
    return x[lowest], loss[lowest]


def frontier(flops: Array, loss: Array) -> tuple[Array, Array]:
    """The runs that no run of less or equal compute equals: compute [M] rising, loss falling.

    Runs of one budget differ in compute by what whole steps round off: within `SAME_COMPUTE` they are equal.
    """
    order = np.lexsort((loss, flops))
    x, y = flops[order], loss[order]
    lowest = np.minimum.accumulate(y)
    before = np.concatenate([[np.inf], lowest[:-1]])
    beside = lowest[np.searchsorted(x, x * (1 + SAME_COMPUTE), side="right") - 1]
    kept = (y < before) & (y <= beside)
    return x[kept], y[kept]


def single(x: Array, loss: Array) -> Single:
    """The straight line through log L over log x."""
    return Single(x, loss, constants(lines(np.log(x), np.log(loss)[None]))[0])


def constants(fitted: Array) -> Array:
    """(log x_c, exponent) [K, 2] from levels and slopes [K, 2] of log L over log x."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([-fitted[:, 0] / fitted[:, 1], -fitted[:, 1]], 1)


def joint(n: Array, d: Array) -> Predict:
    """log L of equation 1.5 and its derivatives, for rows of (u, v, alpha_N, alpha_D).

    u = alpha_N log N_c and v = alpha_D log D_c are the logs that L would have by N or D alone at N = D = 1.
    """
    log_n, log_d = np.log(n), np.log(d)

    def law(u: Array, v: Array, alpha_n: Array, alpha_d: Array) -> Array:
        return alpha_d * log_sum((u - alpha_n * log_n) / alpha_d, (v - alpha_d * log_d) / alpha_d)

    return differentiated(law, 4)


def _moved(theta: Array, log_n: float, log_d: float) -> Array:
    """The same law with N and D in units that are so much larger."""
    u, v, alpha_n, alpha_d = theta.T
    return np.stack([u + alpha_n * log_n, v + alpha_d * log_d, alpha_n, alpha_d], 1)


def _units(columns: Columns) -> tuple[Predict, float, float]:
    n, d = columns["parameters"], columns["tokens"]
    log_n, log_d = float(np.log(n).mean()), float(np.log(d).mean())
    return joint(n / np.exp(log_n), d / np.exp(log_d)), log_n, log_d


def fit(columns: Columns) -> Fitted:
    """Equation 1.5 by Huber's loss on log L from a grid of starts; columns parameters, tokens, loss."""
    predict, log_n, log_d = _units(columns)
    middle = float(np.log(columns["loss"]).mean())
    levels = [level + middle for level in START_LEVELS]
    axes = np.meshgrid(levels, levels, START_EXPONENTS, START_EXPONENTS, indexing="ij")
    found = best_of(predict, np.log(columns["loss"]), np.stack([axis.ravel() for axis in axes], 1))
    theta = _moved(found.x, log_n, log_d)[0]
    return Fitted(theta, float(found.value[0]) * DELTA, bool(found.converged[0]))


def resampled(columns: Columns, theta: Array, weights: Array) -> Array:
    """Coefficients [K, 4] of equation 1.5 for each resample, from those of all runs."""
    predict, log_n, log_d = _units(columns)
    start = np.tile(_moved(theta[None], -log_n, -log_d), (len(weights), 1))
    return _moved(regress(predict, np.log(columns["loss"]), start, weights).x, log_n, log_d)


def shown(theta: Array) -> Array:
    """(N_c, D_c, alpha_N, alpha_D) [K, 4]."""
    with np.errstate(over="ignore", divide="ignore"):
        return np.concatenate([np.exp(theta[:, :2] / theta[:, 2:]), theta[:, 2:]], 1)


def as_sum(theta: Array) -> Array:
    """L^(1 / alpha_D) = A / N^(alpha_N / alpha_D) + B / D, as Hoffmann's theta [K, 5] with no floor."""
    u, v, alpha_n, alpha_d = theta.T
    floor = np.full_like(u, -np.inf)
    return np.stack([u / alpha_d, v / alpha_d, floor, alpha_n / alpha_d, np.ones_like(u)], 1)


def loss(theta: Array, columns: Columns) -> Array:
    """Losses [K, R] by rows of (u, v, alpha_N, alpha_D) [K, 4]."""
    return np.exp(joint(columns["parameters"], columns["tokens"])(theta)[0])


SURFACE = Surface(
    "L(N, D)",
    ("N_c", "D_c", "alpha_N", "alpha_D"),
    4,
    shown,
    fit,
    resampled,
    loss,
)
