"""Kaplan et al. 2020, section 5.1, and McCandlish et al. 2018, section 2.3: the critical batch size.

To reach one loss, a batch of B tokens takes S steps and E = B S tokens, and (S / S_min - 1)(E / E_min - 1)
= 1: so S = S_min + E_min / B, a straight line over 1 / B for each target loss, and B_crit = E_min / S_min.
Over losses B_crit = B* / L^(1 / alpha_B), where Kaplan et al. find B* 2e8 tokens and alpha_B .21.
"""

from dataclasses import dataclass

import numpy as np

from data_prep.contract.settings import InputError
from pipeline.scaling.bootstrap import redrawn
from pipeline.scaling.minimize import Array
from pipeline.scaling.power_law import lines
from pipeline.scaling.table import Runs


@dataclass(frozen=True)
class Sweep:
    """What it took to reach each of the target losses [M], the highest loss first."""

    loss: Array
    least_steps: Array
    critical: Array
    """B_crit in tokens."""
    resampled: Array
    """The same of each resample [K, M]."""
    law: Array
    """(log B*, alpha_B) [2]"""
    laws: Array
    """[K, 2]"""


def sweep(runs: Runs, resamples: int, seed: int) -> Sweep:
    """Columns loss (the target reached), batch_tokens and steps; intervals by drawing residuals again."""
    batch, steps = (runs.column(name, "critical-batch") for name in ("batch_tokens", "steps"))
    loss = runs.columns["loss"]
    targets = np.unique(loss)[::-1]
    if len(targets) < 2:
        raise InputError(
            f"{runs.path}: one target loss; form critical-batch needs 2, each with 3 batch sizes"
        )
    parts = []
    for place, target in enumerate(targets):
        rows = loss == target
        if len(np.unique(batch[rows])) < 3:
            raise InputError(f"{runs.path}: loss {target:g} was reached with fewer than 3 batch sizes")
        parts.append(_line(runs.path, target, batch[rows], steps[rows], resamples, seed + place))
    lowest = np.stack([one[0] for one in parts])  # [M, 2]
    again = np.stack([one[1] for one in parts], 1)  # [K, M, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        critical = np.where((again > 0).all(2), again[..., 1] / again[..., 0], np.nan)
    own = lowest[:, 1] / lowest[:, 0]
    return Sweep(
        targets,
        lowest[:, 0],
        own,
        critical,
        _law(targets, own[None])[0],
        _law(targets, critical),
    )


def _line(
    path: str, target: float, batch: Array, steps: Array, resamples: int, seed: int
) -> tuple[Array, Array]:
    """(S_min, E_min) [2] by least squares of relative errors, and of each resample [K, 2]."""
    found = _solve(batch, steps[None])[0]
    if not (found > 0).all():
        raise InputError(
            f"{path}: at loss {target:g} steps do not fall towards a least number as the batch grows; "
            "form critical-batch needs smaller and larger batches"
        )
    fitted = found[0] + found[1] / batch
    errors = redrawn(np.zeros_like(steps), steps / fitted - 1, 2, resamples, seed)
    return found, _solve(batch, fitted * (1 + errors))


def _solve(batch: Array, steps: Array) -> Array:
    """(S_min, E_min) [K, 2] with the least sum of ((S_min + E_min / B) / S - 1)^2 for steps [K, R]."""
    columns = np.stack([1 / steps, 1 / (batch * steps)], 2)  # [K, R, 2]
    size = np.linalg.norm(columns, axis=1, keepdims=True)
    columns = columns / size
    normal = np.einsum("kri,krj->kij", columns, columns)
    right = columns.sum(1)[..., None]
    found: Array = np.linalg.solve(normal, right)[..., 0] / size[:, 0]
    return found


def _law(loss: Array, critical: Array) -> Array:
    """(log B*, alpha_B) [K, 2] from critical batches [K, M]."""
    level, slope = lines(np.log(loss), np.log(critical)).T
    return np.stack([level, -1 / slope], 1)
