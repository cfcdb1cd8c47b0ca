"""Approach 3 finds a known law, inside its intervals; with the mean of the terms it stops near its start."""

import numpy as np
import pytest

from pipeline.scaling import hoffmann
from pipeline.scaling.bootstrap import draws, interval
from pipeline.scaling.optimal import best, exponents
from pipeline.scaling.regression import huber
from tests.pipeline.scaling.made import LAW, hoffmann_runs

FEW = np.array(
    [[a, b, e, x, x] for a in (0.0, 10.0) for b in (0.0, 10.0) for e in (-1.0, 0.5) for x in (0.0, 0.5)]
)
"""Starts enough for tests."""


def fitted(size: float, tie: bool = False) -> hoffmann.Fitted:
    columns = hoffmann_runs(size).columns
    return hoffmann.fit(columns["parameters"], columns["tokens"], columns["loss"], tie, FEW)


def test_a_law_without_noise_is_found_exactly() -> None:
    found = fitted(0.0)
    assert found.converged
    assert found.objective < 1e-10
    np.testing.assert_allclose(found.theta, LAW.theta(), rtol=1e-4)


def test_a_law_with_noise_is_inside_its_intervals() -> None:
    runs, found = hoffmann_runs(0.003), fitted(0.003)
    columns = [runs.columns[name] for name in ("parameters", "tokens", "loss")]
    again = hoffmann.resampled(*columns, found.theta, draws(len(runs), 200, 0))
    for place, true in enumerate(LAW.theta()):
        low, high = interval(again[:, place])
        assert low <= true <= high
        assert low < found.theta[place] < high
    low, high = interval(exponents(again)[:, 0])
    assert low <= 0.366 / (0.348 + 0.366) <= high
    assert high - low < 0.05


def test_tied_exponents_are_equal_and_fit_no_better() -> None:
    free, tied = fitted(0.003), fitted(0.003, tie=True)
    assert tied.theta[3] == tied.theta[4]
    assert tied.objective >= free.objective


def test_a_fit_is_a_minimum_from_nearby_too() -> None:
    runs, found = hoffmann_runs(0.003), fitted(0.003)
    columns = [runs.columns[name] for name in ("parameters", "tokens", "loss")]
    moved = found.theta * np.random.default_rng(0).uniform(0.9, 1.1, size=(8, 5))
    again = hoffmann.fit(*columns, starts=moved)
    assert again.objective == pytest.approx(found.objective, rel=1e-7)
    np.testing.assert_allclose(again.theta, found.theta, rtol=1e-3)


def test_one_bad_run_hardly_moves_the_law() -> None:
    columns = dict(hoffmann_runs(0.001).columns)
    loss = columns["loss"].copy()
    loss[20] *= 1.5
    found = hoffmann.fit(columns["parameters"], columns["tokens"], loss, starts=FEW)
    np.testing.assert_allclose(found.theta, LAW.theta(), rtol=0.03)


def test_gradients_are_those_of_differences() -> None:
    n, d = np.array([1e8, 1e9]), np.array([1e9, 3e10])
    theta = np.tile(LAW.theta(), (5, 1))
    predict = hoffmann.prediction(n, d)
    up, down = predict(theta + 1e-6 * np.eye(5))[0], predict(theta - 1e-6 * np.eye(5))[0]
    np.testing.assert_allclose(predict(theta)[1][0], (up - down) / 2e-6, rtol=1e-6, atol=1e-9)


def test_the_mean_of_the_terms_stops_soon_after_it_starts() -> None:
    runs = hoffmann_runs(0.003).columns
    columns = [runs[name] for name in ("parameters", "tokens", "loss")]
    start = hoffmann.Law(406.4, 410.7, 1.69, 0.34, 0.28)
    errors = np.log(hoffmann.loss(start.theta()[None], runs)[0]) - np.log(runs["loss"])
    early = hoffmann.stopped_early(*columns, start)
    assert early.converged, "which makes it look like a fit"
    assert early.objective < 0.95 * huber(errors)[0].sum(), "it has moved"
    assert early.objective > 1.5 * fitted(0.003).objective
    assert early.theta[:2] == pytest.approx(start.theta()[:2], abs=0.01)


def test_the_best_size_is_that_of_a_search() -> None:
    budget = 1e21
    n = np.geomspace(1e8, 1e11, 200_001)
    losses = LAW.loss(n, budget / (6 * n))
    parameters, tokens, loss = best(LAW.theta()[None], budget)[0]
    assert parameters == pytest.approx(n[losses.argmin()], rel=1e-3)
    assert 6 * parameters * tokens == pytest.approx(budget)
    assert loss == pytest.approx(losses.min(), rel=1e-9)


def test_the_published_law_gives_the_published_size() -> None:
    """40 billion parameters at Gopher's 5.76e23 FLOPs (figure 4 of the paper)."""
    parameters, _, _ = best(hoffmann.PUBLISHED.theta()[None], 5.76e23)[0]
    assert round(parameters / 1e9) == 40


@pytest.mark.parametrize(
    ("law", "ratio"),
    [
        (hoffmann.Law(477.842, 2143.864, 1.817235, 0.347313, 0.367183), 17.9),
        (hoffmann.Law(482.006, 2085.434, 1.81686, 0.34781, 0.36585), 18.3),
        (hoffmann.PUBLISHED, 59.0),
        (hoffmann.Law(406.4, 410.7, 1.69, 0.34, 0.28), 92.8),
    ],
)
def test_tokens_a_parameter_at_chinchillas_compute_are_those_of_a_search(
    law: hoffmann.Law, ratio: float
) -> None:
    """Besiroglu et al.'s refit, exact and printed, and the paper's law with all its digits and as printed.

    A search through sizes 10^-5 apart at 5.88e23 FLOPs: the ratio hangs on the exponents' digits.
    """
    parameters = np.geomspace(1e9, 1e12, 700_000)
    tokens = 5.88e23 / (6 * parameters)
    lowest = law.loss(parameters, tokens).argmin()
    assert tokens[lowest] / parameters[lowest] == pytest.approx(ratio, rel=0.005)
    found = best(law.theta()[None], 5.88e23)[0]
    assert found[1] / found[0] == pytest.approx(tokens[lowest] / parameters[lowest], rel=0.002)
