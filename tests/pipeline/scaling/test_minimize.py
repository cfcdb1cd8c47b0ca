"""Many small problems at once end where one at a time does."""

import numpy as np
import pytest

from pipeline.scaling.minimize import Array, Indices, minimize


def rosenbrock(x: Array, problems: Indices) -> tuple[Array, Array]:
    a, b = x.T
    value = (1 - a) ** 2 + 100 * (b - a**2) ** 2
    return value, np.stack([-2 * (1 - a) - 400 * a * (b - a**2), 200 * (b - a**2)], 1)


def test_every_start_reaches_the_minimum_of_a_curved_valley() -> None:
    starts = np.random.default_rng(0).uniform(-3, 3, size=(50, 2))
    found = minimize(rosenbrock, starts)
    assert found.converged.all()
    np.testing.assert_allclose(found.x, 1, atol=1e-6)


def test_problems_do_not_mix() -> None:
    centres = np.random.default_rng(1).normal(size=(20, 3))

    def bowls(x: Array, problems: Indices) -> tuple[Array, Array]:
        away = x - centres[problems]
        return 0.5 * (away**2 * [1, 10, 100]).sum(1), away * [1, 10, 100]

    np.testing.assert_allclose(minimize(bowls, np.zeros((20, 3))).x, centres, atol=1e-5)


def test_too_few_iterations_are_told() -> None:
    assert not minimize(rosenbrock, np.array([[-3.0, 3.0]]), iterations=3).converged.any()


def test_the_minimum_is_scipys() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(30, 4))
    target = matrix @ [1.0, -2.0, 0.5, 3.0] + rng.standard_t(2, size=30)

    def robust(x: Array, problems: Indices) -> tuple[Array, Array]:
        away = x @ matrix.T - target
        inside = np.clip(away, -0.1, 0.1)
        return (inside * (away - inside / 2)).sum(1), inside @ matrix

    one = optimize.minimize(lambda x: robust(x[None], None)[0][0], np.zeros(4), method="BFGS", tol=1e-10)
    found = minimize(robust, np.zeros((1, 4)))
    assert found.value[0] <= one.fun + 1e-9
    np.testing.assert_allclose(found.x[0], one.x, atol=1e-3)
