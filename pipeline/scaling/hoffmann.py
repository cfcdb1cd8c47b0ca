"""Hoffmann et al. 2022, section 3.3: L(N, D) = E + A / N^alpha + B / D^beta, a parametric fit (approach 3).

Log losses, a Huber loss and a grid of starts are theirs (appendix D.2). Besiroglu et al. 2024 find that the
published numbers are no minimum: with the MEAN of the terms an optimizer's absolute tolerance is reached far
from it. `fit` minimises the sum to its end; `stopped_early` goes from the published numbers to where the mean
stops, to show the difference.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.scaling.minimize import Array
from pipeline.scaling.regression import DELTA, Predict, best_of, regress
from pipeline.scaling.surface import Columns, Fitted, Surface

SCIPY_FTOL = 2.2e-9
"""The tolerance of scipy's L-BFGS-B where none is given."""


@dataclass(frozen=True)
class Law:
    """L = E + A / N^alpha + B / D^beta; N in parameters, D in tokens, L in nats per token."""

    A: float
    B: float
    E: float
    alpha: float
    beta: float

    def loss(self, parameters: Array, tokens: Array) -> Array:
        """Loss of models of so many parameters after so many tokens."""
        return self.E + self.A / parameters**self.alpha + self.B / tokens**self.beta

    def theta(self) -> Array:
        """(log A, log B, log E, alpha, beta)"""
        return np.array([np.log(self.A), np.log(self.B), np.log(self.E), self.alpha, self.beta])


PUBLISHED = Law(
    float(np.exp(6.0073404)), float(np.exp(6.0179186)), float(np.exp(0.5267228)), 0.33917, 0.28491
)
"""Hoffmann et al. 2022 with the digits of the paper's source (Besiroglu et al. 2024)."""


def prediction(n: Array, d: Array) -> Predict:
    """log L of runs [R] and its derivatives, for rows of (log A, log B, log E, alpha, beta)."""
    log_n, log_d = np.log(n), np.log(d)

    def predict(theta: Array) -> tuple[Array, Array]:
        a, b, e, alpha, beta = (one[:, None] for one in theta.T)
        model, data, rest = np.broadcast_arrays(a - alpha * log_n, b - beta * log_d, e)
        top = np.maximum(np.maximum(model, data), rest)
        model, data, rest = np.exp(model - top), np.exp(data - top), np.exp(rest - top)
        total = model + data + rest
        model, data, rest = model / total, data / total, rest / total
        return top + np.log(total), np.stack([model, data, rest, -model * log_n, -data * log_d], 1)

    return predict


def tied(predict: Predict) -> Predict:
    """The same with alpha = beta, for rows of (log A, log B, log E, alpha)."""

    def predicted(theta: Array) -> tuple[Array, Array]:
        value, by = predict(np.concatenate([theta, theta[:, 3:]], 1))
        return value, np.concatenate([by[:, :3], by[:, 3:4] + by[:, 4:]], 1)

    return predicted


def grid() -> Array:
    """Appendix D.2's 4,500 starts: log A and log B 0 to 25, log E -1 to 1, the exponents 0 to 2."""
    large, small, exponents = np.arange(0.0, 26, 5), np.arange(-1.0, 1.1, 0.5), np.arange(0.0, 2.1, 0.5)
    axes = np.meshgrid(large, large, small, exponents, exponents, indexing="ij")
    return np.stack([axis.ravel() for axis in axes], 1)


class Centred:
    """The runs with N and D in units of their geometric means, where log A and alpha pull apart less.

    Only the units differ, so that the minimum is the same.
    """

    def __init__(self, n: Array, d: Array) -> None:
        self.log_n, self.log_d = float(np.log(n).mean()), float(np.log(d).mean())
        self.predict = prediction(n / np.exp(self.log_n), d / np.exp(self.log_d))

    def to(self, theta: Array) -> Array:
        """Coefficients [K, 5] in these units."""
        return self._moved(theta, -1)

    def back(self, theta: Array) -> Array:
        """Coefficients [K, 5], or [K, 4] where the exponents are tied, in parameters and tokens."""
        return self._moved(theta if theta.shape[1] == 5 else np.concatenate([theta, theta[:, 3:]], 1), 1)

    def _moved(self, theta: Array, sign: int) -> Array:
        a, b, e, alpha, beta = theta.T
        return np.stack([a + sign * alpha * self.log_n, b + sign * beta * self.log_d, e, alpha, beta], 1)


def fit(n: Array, d: Array, loss: Array, tie: bool = False, starts: Array | None = None) -> Fitted:
    """The law of runs with `n` parameters, `d` tokens and these losses, each [R]; with `tie` alpha = beta.

    `starts` [K, 5] are rows of (log A, log B, log E, alpha, beta), as is what is found; the paper's grid
    where left out.
    """
    units = Centred(n, d)
    begin = units.to(grid() if starts is None else starts)
    predict, begin = (tied(units.predict), begin[:, :4]) if tie else (units.predict, begin)
    found = best_of(predict, np.log(loss), np.unique(begin, axis=0))
    return Fitted(units.back(found.x)[0], float(found.value[0]) * DELTA, bool(found.converged[0]))


def resampled(n: Array, d: Array, loss: Array, theta: Array, weights: Array, tie: bool = False) -> Array:
    """Coefficients [K, 5] of the law for each resample, `weights` [K, R] times each run.

    Each starts from the law of all runs, `theta` [5], and from the published one; the lower minimum counts.
    """
    units, starts = Centred(n, d), np.stack([theta, PUBLISHED.theta()])
    begin = units.to(starts)
    predict, begin = (tied(units.predict), begin[:, :4]) if tie else (units.predict, begin)
    found = [regress(predict, np.log(loss), np.tile(start, (len(weights), 1)), weights) for start in begin]
    lower = (found[1].value < found[0].value)[:, None]
    return units.back(np.where(lower, found[1].x, found[0].x))


def stopped_early(n: Array, d: Array, loss: Array, start: Law = PUBLISHED) -> Fitted:
    """Where the mean of the terms stops by an absolute tolerance of 2.2e-9, from one start.

    The mean is of order 1e-5, so that a small decrease ends it near its start. The published grid of starts
    is not gone through.
    """
    found = regress(
        prediction(n, d), np.log(loss), start.theta()[None], scale=1 / len(n), tolerance=SCIPY_FTOL
    )
    return Fitted(found.x[0], float(found.value[0]) * len(n), bool(found.converged[0]))


def shown(theta: Array) -> Array:
    """(A, B, E, alpha, beta) for rows of theta [K, 5]."""
    return np.concatenate([np.exp(theta[:, :3]), theta[:, 3:]], 1)


def loss(theta: Array, columns: Columns) -> Array:
    """Losses [K, R] of runs by rows of theta [K, 5]."""
    return np.exp(prediction(columns["parameters"], columns["tokens"])(theta)[0])


def surface(tie: bool) -> Surface:
    """The law for comparisons with others; with `tie` alpha = beta, which extrapolates more steadily."""

    def fitted(columns: Columns) -> Fitted:
        return fit(columns["parameters"], columns["tokens"], columns["loss"], tie)

    def again(columns: Columns, theta: Array, weights: Array) -> Array:
        return resampled(columns["parameters"], columns["tokens"], columns["loss"], theta, weights, tie)

    name = "alpha = beta" if tie else "alpha, beta free"
    return Surface(name, ("A", "B", "E", "alpha", "beta"), 4 if tie else 5, shown, fitted, again, loss)
