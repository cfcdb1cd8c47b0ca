"""Every form finds the law that made its table, inside its own intervals, and says what its table lacks."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.contract.settings import InputError
from pipeline.scaling import kaplan, repeated
from pipeline.scaling.bootstrap import draws, interval
from pipeline.scaling.critical_batch import sweep
from pipeline.scaling.envelope import curves, envelope, smoothed
from pipeline.scaling.held_out import hold_out
from pipeline.scaling.hoffmann import Law, surface
from pipeline.scaling.isoflop import budgets, isoflop
from pipeline.scaling.minimize import Array
from pipeline.scaling.optimal import exponents
from pipeline.scaling.surface import Surface
from pipeline.scaling.table import Runs
from tests.pipeline.scaling.made import LAW, hoffmann_runs, isoflop_runs, noise, runs, square

A_TRUE = 0.366 / (0.348 + 0.366)
KAPLAN = np.array([0.076 * np.log(6.4e13), 0.103 * np.log(1.8e13), 0.076, 0.103])
"""Equation 1.5 with table 2's coefficients."""
MUENNIGHOFF = np.array([np.log(521), np.log(1488), np.log(1.87), 0.353, np.log(15.4), np.log(5.3)])


def recovered(law: Surface, columns: dict[str, Array], truth: Array, resamples: int = 100) -> None:
    """Every coefficient is inside its 95 % interval, and the interval is not the whole world."""
    found = law.fit(columns)
    again = law.shown(law.resampled(columns, found.theta, draws(len(columns["loss"]), resamples, 0)))
    assert found.converged
    for name, true, values in zip(law.coefficients, law.shown(truth[None])[0], again.T, strict=True):
        low, high = interval(values)
        assert low <= true <= high, name
        assert 0 < high - low < abs(true), name


def kaplan_columns(size: float) -> dict[str, Array]:
    n, d = square()
    columns = {"parameters": n, "tokens": d}
    return columns | {"loss": kaplan.loss(KAPLAN[None], columns)[0] * noise(len(n), size)}


def test_kaplans_joint_law_is_recovered() -> None:
    recovered(kaplan.SURFACE, kaplan_columns(0.003), KAPLAN)


def test_kaplans_joint_law_without_noise_is_found_exactly() -> None:
    np.testing.assert_allclose(kaplan.fit(kaplan_columns(0.0)).theta, KAPLAN, rtol=1e-4)


def test_kaplans_single_laws_are_recovered() -> None:
    """Where the other of N and D is without end, equation 1.5 is the law of one."""
    n = np.repeat(np.geomspace(1e6, 1e9, 8), 3)
    law = kaplan.loss(KAPLAN[None], {"parameters": n, "tokens": np.full_like(n, 1e30)})[0]
    best = kaplan.best_losses(n, law * np.tile([1.0, 1.1, 1.3], 8))
    found = kaplan.single(*best)
    assert np.exp(found.theta[0]) == pytest.approx(6.4e13, rel=1e-3)
    assert found.theta[1] == pytest.approx(0.076, rel=1e-4)
    flops = np.geomspace(1e15, 1e21, 12)
    lowest = (3.1e8 * 8.64e19 / flops) ** 0.050
    worse = np.concatenate([flops * 1.01, flops]), np.concatenate([lowest * 1.02, lowest])
    kept = kaplan.frontier(*worse)
    np.testing.assert_allclose(kept[0], flops)
    found = kaplan.single(*kept)
    assert np.exp(found.theta[0]) / 8.64e19 == pytest.approx(3.1e8, rel=1e-6)
    assert found.theta[1] == pytest.approx(0.050)


def repeated_columns(size: float) -> dict[str, Array]:
    axes = np.meshgrid(np.geomspace(1e7, 8e9, 6), np.geomspace(1e8, 1e10, 3), [1.0, 2, 4, 10, 40])
    n, unique, passes = (axis.ravel() for axis in axes)
    columns = {"parameters": n, "tokens": unique * passes, "unique_tokens": unique}
    return columns | {"loss": repeated.loss(MUENNIGHOFF[None], columns)[0] * noise(len(n), size)}


def test_the_law_of_repeated_data_is_recovered() -> None:
    recovered(repeated.SURFACE, repeated_columns(0.003), MUENNIGHOFF, resamples=60)


def test_data_read_once_by_a_small_model_has_hoffmanns_loss() -> None:
    columns = {name: np.array([value]) for name, value in (("parameters", 1e8), ("tokens", 1e10))}
    columns["unique_tokens"] = columns["tokens"]
    once = repeated.loss(MUENNIGHOFF[None], columns)[0]
    assert once == pytest.approx(Law(521, 1488, 1.87, 0.353, 0.353).loss(*list(columns.values())[:2]))
    again = repeated.loss(MUENNIGHOFF[None], columns | {"tokens": np.array([4e10])})[0]
    fresh = repeated.loss(
        MUENNIGHOFF[None],
        {name: np.array([4e10]) for name in columns} | {"parameters": columns["parameters"]},
    )[0]
    assert fresh < again < once, "the second reading is worth something, and less than new data"


def test_parabolas_recover_the_exponents() -> None:
    found, profiles, _ = isoflop(isoflop_runs(), 400, 0)
    assert len(profiles) == 6
    for place, true in enumerate((A_TRUE, 1 - A_TRUE)):
        low, high = interval(found.lines[:, place, 1])
        assert low <= true <= high
        assert high - low < 0.05
    parameters, again = found.at(1e23)
    low, high = interval(again[:, 0])
    assert low <= parameters[0] <= high


def test_budgets_are_told_apart_by_what_was_spent() -> None:
    table = isoflop_runs()
    flops = table.columns["flops"] * np.random.default_rng(0).uniform(0.99, 1.01, len(table))
    groups = budgets(replace(table, columns=dict(table.columns) | {"flops": flops}))
    assert [len(rows) for rows in groups] == [7] * 6
    near = np.array([1.5e19, 2.4e19]).repeat(3)
    assert len(budgets(Runs("x", {"flops": near}, ("",) * 6, "given"))) == 2


def test_parabolas_without_a_lowest_point_are_refused() -> None:
    with pytest.raises(InputError, match=r"the smallest model, .* is the best; train smaller ones"):
        isoflop(isoflop_runs(0.0, around=20.0), 10, 0)
    with pytest.raises(InputError, match=r"the largest model, .* is the best; train larger ones"):
        isoflop(isoflop_runs(0.0, around=0.05), 10, 0)
    table = isoflop_runs(0.0)
    upside_down = 6 - table.columns["loss"]
    with pytest.raises(InputError, match="its parabola opens downwards"):
        isoflop(replace(table, columns=dict(table.columns) | {"loss": upside_down}), 10, 0)
    with pytest.raises(InputError, match="runs of 2 sizes; form isoflop needs 3"):
        isoflop(table.only(np.arange(2)), 10, 0)
    with pytest.raises(InputError, match="form isoflop needs 2 budgets"):
        isoflop(table.only(np.arange(7)), 10, 0)


def training_curves(fall: float, lengths: int = 5) -> Runs:
    """14 sizes of several lengths; `fall` is how much a learning rate that comes down lowers the loss."""
    rows = []
    for place, n in enumerate(np.geomspace(5e7, 1e10, 14)):
        for length in 5 * n * np.geomspace(1, 16, lengths):
            for share in np.linspace(0.05, 1, 40):
                loss = LAW.loss(n, share * length) * (1 + fall * (1 - share))
                rows.append((n, share * length, loss, f"{place}-{length:.3g}"))
    n, d, loss, names = zip(*rows, strict=True)
    table = runs(parameters=np.array(n), tokens=np.array(d), loss=np.array(loss))
    return replace(table, run=names)


def test_the_envelope_recovers_the_exponents() -> None:
    """Constant learning rates, so that every moment of a run is fair; .02: sizes are a factor 1.5 apart."""
    found = envelope(training_curves(0.0), 100, 0)
    for place, true in enumerate((A_TRUE, 1 - A_TRUE)):
        assert found.allocation.law[place, 1] == pytest.approx(true, abs=0.02)
        low, high = interval(found.allocation.lines[:, place, 1])
        assert low <= true <= high
    assert found.late < 0.5


def test_runs_whose_rate_comes_down_win_at_their_end() -> None:
    found = envelope(training_curves(0.05, lengths=17), 10, 0)
    assert found.late > 0.9
    assert found.allocation.law[0, 1] == pytest.approx(A_TRUE, abs=0.03)


def test_smoothing_leaves_a_straight_line_and_damps_noise() -> None:
    line = np.linspace(4, 2, 30)
    np.testing.assert_allclose(smoothed(line), line)
    rough = np.random.default_rng(0).standard_normal(300)
    assert smoothed(rough)[2:-2].std() < 0.6 * rough.std()


def test_an_envelope_needs_curves_of_several_sizes() -> None:
    with pytest.raises(InputError, match="run 0 has 1 rows; form envelope needs each run's curve"):
        curves(hoffmann_runs())
    sizes = Runs(
        "x", {name: hoffmann_runs().columns[name] for name in ("parameters", "loss")}, ("",) * 64, "given"
    )
    with pytest.raises(InputError, match="no column flops"):
        curves(sizes)
    table = training_curves(0.0)
    few = table.columns["parameters"] < 2e8
    with pytest.raises(InputError, match="fewer than 3 sizes between the smallest and the largest"):
        envelope(table.only(few), 10, 0)


def batches(size: float) -> Runs:
    batch, loss = np.tile(np.geomspace(1e4, 1e7, 8), 5), np.repeat([5.0, 4.5, 4.0, 3.5, 3.0], 8)
    steps = 1000 * (1 + 2e8 / loss ** (1 / 0.21) / batch) * noise(40, size)
    return Runs("runs.csv", {"batch_tokens": batch, "steps": steps, "loss": loss}, ("",) * 40, "given")


def test_the_critical_batch_is_recovered() -> None:
    exact = sweep(batches(0.0), 10, 0)
    np.testing.assert_allclose(exact.critical, 2e8 / exact.loss ** (1 / 0.21), rtol=1e-6)
    np.testing.assert_allclose(exact.least_steps, 1000, rtol=1e-6)
    found = sweep(batches(0.02), 400, 0)
    for values, true in ((np.exp(found.laws[:, 0]), 2e8), (found.laws[:, 1], 0.21)):
        low, high = interval(values)
        assert low <= true <= high
        assert high - low < true


def test_a_sweep_that_shows_no_critical_batch_is_refused() -> None:
    table = batches(0.0)
    with pytest.raises(InputError, match="one target loss"):
        sweep(table.only(np.arange(8)), 10, 0)
    with pytest.raises(InputError, match=r"loss 4.5 was reached with fewer than 3 batch sizes"):
        sweep(table.only(np.arange(10)), 10, 0)
    columns = dict(table.columns) | {"steps": 1e9 / table.columns["batch_tokens"] ** 1.5}
    with pytest.raises(InputError, match="steps do not fall towards a least number"):
        sweep(replace(table, columns=columns), 10, 0)
    with pytest.raises(InputError, match="no column batch_tokens"):
        sweep(hoffmann_runs(), 10, 0)


def test_the_largest_runs_are_predicted_from_the_smaller() -> None:
    table = hoffmann_runs(0.003)
    found = hold_out(surface(tie=True), table, 200, 0)
    assert len(found.runs) == 6
    assert found.fitted == 58
    assert found.runs.columns["flops"].min() >= np.sort(table.columns["flops"])[57]
    assert found.error < 0.005, "the noise is .003"
    assert found.inside >= 5, "of 6, with an interval of 95 %"
    assert found.reach > 1


def test_a_law_that_does_not_hold_is_found_out() -> None:
    """Losses of the largest runs that stopped falling are outside the interval."""
    table = hoffmann_runs(0.001)
    last = table.columns["flops"] > np.quantile(table.columns["flops"], 0.9)
    loss = np.where(last, table.columns["loss"] * 1.03, table.columns["loss"])
    found = hold_out(surface(tie=True), replace(table, columns=dict(table.columns) | {"loss": loss}), 100, 0)
    assert found.inside == 0
    assert found.error > 0.02


def test_resamples_repeat_with_their_seed() -> None:
    np.testing.assert_array_equal(draws(50, 20, 3), draws(50, 20, 3))
    assert (draws(50, 20, 3) != draws(50, 20, 4)).any()
    assert (draws(50, 20, 3).sum(1) == 50).all()


def test_exponents_add_up_to_one() -> None:
    np.testing.assert_allclose(exponents(LAW.theta()[None])[0], [A_TRUE, 1 - A_TRUE])
