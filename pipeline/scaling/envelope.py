"""Hoffmann et al. 2022, section 3.1: the lowest of all training curves (approach 1).

Curves of loss over FLOPs are smoothed and interpolated; at each of 1,500 values of FLOPs, evenly spaced in
logs, the run with the lowest loss says which N and D were best there, and lines through them say how both
grow. A run whose learning rate has not come down yet is no fair sample of its size: each size needs runs of
several lengths.
"""

from dataclasses import dataclass

import numpy as np

from data_prep.contract.settings import InputError
from pipeline.scaling.allocation import Allocation
from pipeline.scaling.bootstrap import draws
from pipeline.scaling.minimize import Array
from pipeline.scaling.power_law import lines
from pipeline.scaling.table import Runs, varies

VALUES = 1500
WINDOW = 5
"""Points in the running mean of a curve."""
LATE = 0.85
"""Share of a run's tokens after which its learning rate has come down."""


@dataclass(frozen=True)
class Curve:
    """One run: log FLOPs [M] rising, smoothed log loss [M]."""

    size: float
    log_flops: Array
    log_loss: Array
    log_tokens: Array


@dataclass(frozen=True)
class Envelope:
    allocation: Allocation
    late: float
    """Share of the points at which the best run was in the last 15 % of its tokens."""


def curves(runs: Runs) -> list[Curve]:
    """The training curves of a table in which several rows have the same run, the smallest model first."""
    n = varies(runs, "parameters", "envelope")
    flops, tokens = (np.log(runs.column(one, "envelope")) for one in ("flops", "tokens"))
    loss, names = np.log(runs.columns["loss"]), np.array(runs.run)
    found = []
    for name in dict.fromkeys(runs.run):
        rows = np.flatnonzero(names == name)
        rows = rows[np.argsort(flops[rows], kind="stable")]
        if len(rows) < 3:
            raise InputError(
                f"{runs.path}: run {name} has {len(rows)} rows; form envelope needs each run's curve, "
                "several rows with the same name in column run"
            )
        found.append(Curve(float(n[rows[0]]), flops[rows], smoothed(loss[rows]), tokens[rows]))
    return sorted(found, key=lambda curve: curve.size)


def smoothed(values: Array, window: int = WINDOW) -> Array:
    """Running mean over a window that shrinks towards both ends, so that a straight line stays as it is."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    reach = np.minimum(window // 2, np.minimum(places, len(values) - 1 - places))
    mean: Array = (sums[places + reach + 1] - sums[places - reach]) / (2 * reach + 1)
    return mean


def envelope(runs: Runs, resamples: int, seed: int) -> Envelope:
    """Approach 1; intervals by drawing runs again.

    Where the best run is of the smallest or the largest size, another size that was not trained might have
    been better: those points are left out. `InputError` where fewer than three sizes are left.
    """
    found = curves(runs)
    grid = np.linspace(
        min(one.log_flops[0] for one in found), max(one.log_flops[-1] for one in found), VALUES
    )
    losses = np.stack([np.interp(grid, c.log_flops, c.log_loss, left=np.inf, right=np.inf) for c in found])
    tokens = np.stack([np.interp(grid, c.log_flops, c.log_tokens) for c in found])
    sizes = np.log([one.size for one in found])
    best, inner = chosen(losses, sizes)
    if len(np.unique(sizes[best[inner]])) < 3:
        raise InputError(
            f"{runs.path}: fewer than 3 sizes between the smallest and the largest are best at some compute; "
            "form envelope needs more sizes, or runs of more lengths"
        )
    at = np.arange(VALUES)
    x, n, d = grid[inner], sizes[best][inner], tokens[best, at][inner]
    law = np.stack([lines(x, n[None])[0], lines(x, d[None])[0]])
    counts = draws(len(found), resamples, seed)
    again = np.stack([_line_of(losses, tokens, sizes, grid, row > 0) for row in counts])
    ends = np.array([one.log_tokens[-1] for one in found])
    late = float(np.mean(d >= ends[best][inner] + np.log(LATE)))
    points = np.exp(x), np.exp(n), np.exp(d), np.exp(losses[best, at][inner])
    return Envelope(Allocation(*points, law, again), late)


def chosen(losses: Array, sizes: Array) -> tuple[np.ndarray, np.ndarray]:
    """The best run at each value of FLOPs, and where its size is neither the smallest nor the largest."""
    best = losses.argmin(0)
    there = np.isfinite(losses[best, np.arange(losses.shape[1])])
    size = sizes[best]
    return best, there & (size > sizes.min()) & (size < sizes.max())


def _line_of(losses: Array, tokens: Array, sizes: Array, grid: Array, kept: np.ndarray) -> Array:
    """Both lines [2, 2] of some of the runs; NaN where fewer than three sizes are best."""
    losses, tokens, sizes = losses[kept], tokens[kept], sizes[kept]
    best, inner = chosen(losses, sizes)
    n = sizes[best][inner]
    if len(np.unique(n)) < 3:
        return np.full((2, 2), np.nan)
    d = tokens[best, np.arange(len(grid))][inner]
    return np.stack([lines(grid[inner], n[None])[0], lines(grid[inner], d[None])[0]])
