"""Tables of runs with a known law behind them."""

import numpy as np

from pipeline.scaling.hoffmann import Law
from pipeline.scaling.minimize import Array
from pipeline.scaling.optimal import best
from pipeline.scaling.table import Runs

LAW = Law(482.0, 2085.0, 1.82, 0.348, 0.366)


def noise(rows: int, size: float, seed: int = 0) -> Array:
    """Factors on losses."""
    return np.exp(size * np.random.default_rng(seed).standard_normal(rows))


def runs(**columns: Array) -> Runs:
    """A table of these columns; FLOPs are 6ND."""
    names = tuple(str(row) for row in range(len(columns["loss"])))
    if "parameters" in columns:
        columns["flops"] = 6 * columns["parameters"] * columns["tokens"]
    return Runs("runs.csv", columns, names, "6ND")


def square(sizes: int = 8, low: float = 1e7, high: float = 1e10) -> tuple[Array, Array]:
    """Every size with every number of tokens, each [R]."""
    n, d = np.meshgrid(np.geomspace(low, high, sizes), np.geomspace(20 * low, 20 * high, sizes))
    return n.ravel(), d.ravel()


def hoffmann_runs(size: float = 0.003, law: Law = LAW) -> Runs:
    n, d = square()
    return runs(parameters=n, tokens=d, loss=law.loss(n, d) * noise(len(n), size))


def isoflop_runs(size: float = 0.002, law: Law = LAW, around: float = 1.0) -> Runs:
    """Seven sizes around the best one at each of six budgets."""
    flops = np.repeat(np.geomspace(6e18, 3e21, 6), 7)
    sizes = [best(law.theta()[None], c)[0, 0] * around * np.geomspace(0.25, 4, 7) for c in np.unique(flops)]
    n = np.concatenate(sizes)
    d = flops / (6 * n)
    return runs(parameters=n, tokens=d, loss=law.loss(n, d) * noise(len(n), size))
