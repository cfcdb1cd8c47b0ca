"""Prediction intervals hold what is measured as often as they say, on tables whose law is known."""

import numpy as np
import pytest

from pipeline.scaling import hoffmann
from pipeline.scaling.bootstrap import ENDS, draws
from pipeline.scaling.minimize import Array
from pipeline.scaling.prediction import predict, student_quantile
from pipeline.scaling.surface import Surface
from tests.pipeline.scaling.made import LAW
from tests.pipeline.scaling.test_hoffmann import FEW

SIZES, BUDGETS = np.geomspace(5e7, 8e8, 5), np.geomspace(6e18, 4.8e19, 4)
"""A study of twenty runs; what is predicted has four times the largest budget."""


@pytest.fixture(autouse=True)
def few_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hoffmann, "grid", lambda: FEW)


def table(noise: float, random: np.random.Generator) -> dict[str, Array]:
    n, c = (one.ravel() for one in np.meshgrid(SIZES, BUDGETS))
    d = c / (6 * n)
    return {"parameters": n, "tokens": d, "loss": LAW.loss(n, d) * np.exp(noise * random.standard_normal(20))}


def one_more(noise: float, random: np.random.Generator) -> tuple[dict[str, Array], float]:
    """A run beyond the table, and its loss."""
    n, c = np.array([4e8]), np.array([2e20])
    d = c / (6 * n)
    return {"parameters": n, "tokens": d}, float(LAW.loss(n, d)[0] * np.exp(noise * random.standard_normal()))


def coverage(surface: Surface, noise: float, tables: int) -> tuple[float, float]:
    """Share of tables whose next run lies inside the interval, and inside one of the law's spread alone."""
    random, inside, spread = np.random.default_rng(1), 0, 0
    for seed in range(tables):
        known, (wanted, loss) = table(noise, random), one_more(noise, random)
        found = predict(surface, known, wanted, 100, seed)
        inside += bool(found.low[0] <= loss <= found.high[0])
        laws = surface.resampled(known, found.law.theta, draws(20, 100, seed))
        low, high = np.quantile(surface.loss(laws, wanted)[:, 0], ENDS)
        spread += bool(low <= loss <= high)
    return inside / tables, spread / tables


@pytest.mark.by_hand
@pytest.mark.parametrize("noise", [0.003, 0.02])
@pytest.mark.parametrize("tie", [True, False])
def test_intervals_hold_what_is_measured(tie: bool, noise: float) -> None:
    """95 % of 150 is 142 with a standard deviation of 2.7; fewer than 134 would be chance once in 500."""
    inside, spread = coverage(hoffmann.surface(tie), noise, 150)
    assert inside >= 134 / 150
    assert spread < inside, "the law's own uncertainty is less than a new run's"


def test_intervals_are_for_a_run_and_not_for_the_law() -> None:
    """Where the law is known exactly, the interval is the noise's: 2 x 1.96 deviations."""
    random = np.random.default_rng(0)
    known, _ = table(0.01, random), None
    found = predict(hoffmann.surface(tie=True), known, one_more(0, random)[0], 400, 0)
    assert np.log(found.high[0] / found.low[0]) > 2 * 1.96 * 0.01 * 0.7
    assert found.low[0] < found.loss[0] < found.high[0]


def test_without_noise_a_law_is_certain() -> None:
    random = np.random.default_rng(0)
    wanted, loss = one_more(0, random)
    found = predict(hoffmann.surface(tie=False), table(0, random), wanted, 50, 0)
    assert found.loss[0] == pytest.approx(loss, rel=1e-4)
    assert found.high[0] / found.low[0] < 1.0001


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042)]
)
def test_student_quantiles(freedom: int, quantile: float) -> None:
    """Against the tables that every textbook prints."""
    assert student_quantile(freedom) == pytest.approx(quantile, rel=0.01)
