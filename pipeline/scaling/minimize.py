"""BFGS for many small problems at once: every start and every resample is one row of an array.

A law has two to seven unknowns and a few hundred points, so one problem is too small to keep numpy busy,
and a fit with its intervals is thousands of them. BFGS with a weak Wolfe line search by bisection (Nocedal
and Wright 2006, chapter 6; Lewis and Overton 2013, section 2) needs values and gradients alone, and keeps
the whole matrix where L-BFGS keeps a few pairs: with so few unknowns they are the same method.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Objective = Callable[[Array, Indices], tuple[Array, Array]]
"""(points [K, P], which problem each belongs to [K]) -> (values [K], gradients [K, P])."""

DECREASE, CURVATURE = 1e-4, 0.9
"""Armijo's and Wolfe's constants."""
BISECTIONS = 40


@dataclass(frozen=True)
class Minimum:
    x: Array
    """[K, P]"""
    value: Array
    """[K]"""
    converged: npt.NDArray[np.bool_]
    """[K]: the value stopped falling before the iterations ended."""


def minimize(objective: Objective, starts: Array, tolerance: float = 1e-13, iterations: int = 400) -> Minimum:
    """The local minimum below each start [K, P].

    A problem has converged when an iteration lowers its value by no more than `tolerance` times the larger of
    the value and 1, scipy's `ftol`: so the objective should be of order 1.
    """
    x, problems = np.array(starts, dtype=np.float64), np.arange(len(starts))
    value, slope = objective(x, problems)
    inverse = np.broadcast_to(np.eye(x.shape[1]), (*x.shape, x.shape[1])).copy()
    first, done = np.ones(len(x), bool), ~np.isfinite(value)
    for _ in range(iterations):
        if done.all():
            break
        on = problems[~done]
        direction = -np.einsum("kij,kj->ki", inverse[on], slope[on])
        uphill = (direction * slope[on]).sum(1) >= 0
        direction[uphill] = -slope[on][uphill]
        inverse[on[uphill]] = np.eye(x.shape[1])
        length = np.linalg.norm(slope[on], axis=1)
        step = np.where(first[on], np.minimum(1.0, 1.0 / np.maximum(length, 1e-300)), 1.0)
        step, found, gradient = _line_search(objective, on, x[on], value[on], slope[on], direction, step)
        move, change = step[:, None] * direction, gradient - slope[on]
        _update(inverse, on, move, change, first)
        fell = value[on] - found
        x[on], value[on], slope[on] = x[on] + move, found, gradient
        done[on] = fell <= tolerance * np.maximum(np.abs(value[on]), 1.0)
    return Minimum(x, value, done & np.isfinite(value))


def _line_search(
    objective: Objective,
    problems: Indices,
    x: Array,
    value: Array,
    slope: Array,
    direction: Array,
    step: Array,
) -> tuple[Array, Array, Array]:
    """Step lengths [K] that fulfil both conditions, values and gradients there; 0 where there is none."""
    low, high = np.zeros(len(x)), np.full(len(x), np.inf)
    best, best_value, best_slope = np.zeros(len(x)), value.copy(), slope.copy()
    descent = (slope * direction).sum(1)
    left = np.arange(len(x))
    for _ in range(BISECTIONS):
        tried, gradient = objective(x[left] + step[left, None] * direction[left], problems[left])
        enough = tried <= value[left] + DECREASE * step[left] * descent[left]
        flat = (gradient * direction[left]).sum(1) >= CURVATURE * descent[left]
        kept = left[enough]
        best[kept], best_value[kept], best_slope[kept] = step[kept], tried[enough], gradient[enough]
        low[kept] = step[kept]
        high[left[~enough]] = step[left[~enough]]
        left = left[~(enough & flat)]
        if not left.size:
            break
        step[left] = np.where(np.isfinite(high[left]), (low[left] + high[left]) / 2, 2 * low[left])
    return best, best_value, best_slope


def _update(inverse: Array, on: Indices, move: Array, change: Array, first: npt.NDArray[np.bool_]) -> None:
    """BFGS's update of the inverse matrices, in place, where the curvature along the move is positive."""
    curve = (move * change).sum(1)
    good = curve > 1e-12 * np.linalg.norm(move, axis=1) * np.linalg.norm(change, axis=1)
    on, move, change, curve = on[good], move[good], change[good], curve[good]
    fresh = first[on]
    scale = curve / (change * change).sum(1)  # the size of the first matrix is guessed from the first move
    inverse[on[fresh]] *= scale[fresh, None, None]
    first[on] = False
    rho = 1.0 / curve
    left = np.eye(move.shape[1]) - rho[:, None, None] * move[:, :, None] * change[:, None, :]
    updated = np.einsum("kij,kjl,kml->kim", left, inverse[on], left)
    inverse[on] = updated + rho[:, None, None] * move[:, :, None] * move[:, None, :]
