"""Hoffmann et al. 2022, section 3.2: a parabola for each budget (approach 2, IsoFLOP profiles).

Runs that spent the same FLOPs on models of different sizes: the lowest point of a parabola of the loss over
log N is the best size for that budget, and lines through these points say how N and D grow. A parabola that
opens downwards, or whose lowest point is not between the sizes that were trained, would be extrapolated: its
budget is left out, and told.
"""

from dataclasses import dataclass

import numpy as np

from data_prep.contract.settings import InputError
from pipeline.scaling.allocation import Allocation
from pipeline.scaling.bootstrap import redrawn
from pipeline.scaling.minimize import Array
from pipeline.scaling.power_law import lines
from pipeline.scaling.table import Runs

SAME_BUDGET = 0.1
"""Runs belong to one budget where, in order of FLOPs, each spent at most so much more than the one before."""


@dataclass(frozen=True)
class Profile:
    """The runs of one budget."""

    flops: float
    """Geometric mean."""
    log_n: Array
    loss: Array
    log_d: Array
    curve: Array
    """Loss = curve @ (1, x, x^2), x = log N less `middle`."""
    middle: float

    @property
    def best(self) -> float:
        """log of the best N."""
        return float(self.middle - self.curve[1] / (2 * self.curve[2]))

    def at(self, log_n: Array) -> Array:
        """Loss of the parabola."""
        x = log_n - self.middle
        value: Array = self.curve[0] + self.curve[1] * x + self.curve[2] * x**2
        return value


def isoflop(runs: Runs, resamples: int, seed: int) -> tuple[Allocation, list[Profile], list[str]]:
    """Approach 2; intervals by drawing each parabola's residuals again.

    The last are sentences on the budgets whose parabola has no lowest point between its sizes: they are left
    out. `InputError` where fewer than two are left.
    """
    found: list[Profile] = []
    refused: list[str] = []
    for rows in budgets(runs):
        try:
            found.append(profile(runs.path, runs.only(rows)))
        except InputError as error:
            refused.append(str(error))
    if len(found) < 2:
        if refused:
            raise InputError(refused[0])
        raise InputError(
            f"{runs.path}: all runs spent {found[0].flops:.3g} FLOPs; form isoflop needs 2 budgets"
        )
    flops = np.array([one.flops for one in found])
    n = np.exp([one.best for one in found])
    d = np.exp([tokens_at(one, np.array([one.best]))[0] for one in found])
    law = np.stack([lines(np.log(flops), np.log(y)[None])[0] for y in (n, d)])
    sizes = np.stack(
        [resampled(one, resamples, seed + place) for place, one in enumerate(found)], 1
    )  # [K, M]
    data = np.stack([tokens_at(one, sizes[:, place]) for place, one in enumerate(found)], 1)
    again = np.stack([lines(np.log(flops), y) for y in (sizes, data)], 1)
    loss = np.array([one.at(np.array(one.best)) for one in found], dtype=np.float64)
    return Allocation(flops, n, d, loss, law, again), found, refused


def budgets(runs: Runs) -> list[np.ndarray]:
    """Numbers of the rows of each budget, the least first."""
    flops = np.log(runs.column("flops", "isoflop"))
    order = np.argsort(flops, kind="stable")
    ends = np.flatnonzero(np.diff(flops[order]) > np.log1p(SAME_BUDGET)) + 1
    return np.split(order, ends)


def profile(path: str, runs: Runs) -> Profile:
    """The parabola of one budget; `InputError` where it has no lowest point between its sizes."""
    flops = float(np.exp(np.log(runs.columns["flops"]).mean()))
    where = f"{path}: at {flops:.3g} FLOPs"
    log_n = np.log(runs.column("parameters", "isoflop"))
    sizes = len(np.unique(np.round(log_n, 6)))
    if sizes < 3:
        raise InputError(f"{where} there are runs of {sizes} sizes; form isoflop needs 3 for a parabola")
    middle, loss = float(log_n.mean()), runs.columns["loss"]
    curve = design(log_n - middle)[1] @ loss
    found = Profile(flops, log_n, loss, np.log(runs.columns["tokens"]), curve, middle)
    if curve[2] <= 0:
        raise InputError(f"{where} the loss has no lowest point in between: its parabola opens downwards")
    if not log_n.min() < found.best < log_n.max():
        smaller = found.best <= log_n.min()
        end = float(np.exp(log_n.min() if smaller else log_n.max()))
        raise InputError(
            f"{where} the {'smallest' if smaller else 'largest'} model, {end:.3g} parameters, is the best; "
            f"train {'smaller' if smaller else 'larger'} ones at this budget"
        )
    return found


def design(x: Array) -> tuple[Array, Array]:
    """The matrix of a parabola [R, 3] and its pseudo-inverse [3, R]."""
    powers = np.stack([np.ones_like(x), x, x**2], 1)
    return powers, np.linalg.pinv(powers)


def resampled(one: Profile, resamples: int, seed: int) -> Array:
    """log of the best N of each resample [K]; NaN where the parabola opens downwards."""
    fitted = one.at(one.log_n)
    losses = redrawn(fitted, one.loss - fitted, 3, resamples, seed)
    _, slope, bend = design(one.log_n - one.middle)[1] @ losses.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(bend > 0, one.middle - slope / (2 * bend), np.nan)


def tokens_at(one: Profile, log_n: Array) -> Array:
    """log of the tokens that the budget gives a model of that size, by a line through its runs in logs."""
    level, slope = lines(one.log_n, one.log_d[None])[0]
    tokens: Array = level + slope * log_n
    return tokens
