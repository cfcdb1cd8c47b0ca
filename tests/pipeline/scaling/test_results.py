"""Every form's result is told, drawn and written; what a table lacks for it is one sentence."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prep.contract.settings import InputError
from launch.scale import scale
from pipeline.reports import plots
from pipeline.scaling import hoffmann, repeated
from pipeline.scaling.forms import FORMS, Request
from pipeline.scaling.optimal import best
from pipeline.scaling.surface import Fitted
from pipeline.scaling.table import Runs
from tests.pipeline.scaling.made import LAW, hoffmann_runs, isoflop_runs
from tests.pipeline.scaling.test_forms import (
    MUENNIGHOFF,
    batches,
    kaplan_columns,
    repeated_columns,
    training_curves,
)
from tests.pipeline.scaling.test_hoffmann import FEW

ASKED = Request([1e22], 20, 0)


@pytest.fixture(autouse=True)
def few_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's grid is tried where its points are fitted."""
    monkeypatch.setattr(hoffmann, "grid", lambda: FEW)


def tables() -> dict[str, Runs]:
    kaplans = kaplan_columns(0.003)
    flops = {"flops": 6 * kaplans["parameters"] * kaplans["tokens"]}
    again = repeated_columns(0.003)
    return {
        "hoffmann": hoffmann_runs(),
        "hoffmann-early": hoffmann_runs(),
        "envelope": training_curves(0.0),
        "isoflop": isoflop_runs(),
        "kaplan": Runs("runs.csv", kaplans | flops, ("",) * 64, "6ND"),
        "critical-batch": batches(0.02),
        "repeated": Runs(
            "runs.csv", again | {"flops": 6 * again["parameters"] * again["tokens"]}, ("",) * 90, "6ND"
        ),
    }


def written(runs: Runs, path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*runs.columns, "run"])
        writer.writerows(zip(*runs.columns.values(), runs.run, strict=True))
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_told_and_drawn(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if form != "critical-batch":  # one is enough, and an image takes longer than a fit
        monkeypatch.setattr(plots, "png", lambda figure: b"an image")
    table = written(tables()[form], tmp_path / "runs.csv")
    asked = replace(ASKED, budgets=[]) if form == "critical-batch" else ASKED
    said: list[str] = []
    numbers = scale(table, form, asked, 0, tmp_path / "out", said.append)
    assert json.loads((tmp_path / "out" / "scaling.json").read_text()) == {
        name: value for name, value in numbers.items() if name != "report"
    }
    page = (tmp_path / "out" / "scaling.html").read_text(encoding="utf-8")
    assert FORMS[form].source in page
    names = [name for law in numbers["laws"] for name in law["coefficients"]]
    assert names
    assert all(any(name in line for line in said) for name in names)
    charts = list((tmp_path / "out" / "plots").glob("*.png"))
    assert len(charts) == page.count("<svg")
    assert charts or form == "hoffmann-early"
    assert bool(numbers["plans"]) == (form != "critical-batch")


def test_the_planned_model_is_the_laws(tmp_path: Path) -> None:
    table = written(hoffmann_runs(0.001), tmp_path / "runs.csv")
    plan = scale(table, "hoffmann", ASKED, 0, None, lambda line: None)["plans"][0]
    true = best(LAW.theta()[None], 1e22)[0]
    for name, value in zip(("parameters", "tokens", "loss"), true, strict=True):
        assert plan[name]["low"] < value < plan[name]["high"]


def test_kaplans_plan_is_the_lowest_loss_for_its_budget(tmp_path: Path) -> None:
    from tests.pipeline.scaling.test_forms import KAPLAN, kaplan

    numbers = scale(written(tables()["kaplan"], tmp_path / "runs.csv"), "kaplan", ASKED, 0, None, str)
    n = np.geomspace(1e8, 1e13, 100_001)
    losses = kaplan.loss(KAPLAN[None], {"parameters": n, "tokens": 1e22 / (6 * n)})[0]
    plan = numbers["plans"][0]
    assert plan["parameters"]["value"] == pytest.approx(n[losses.argmin()], rel=0.1)
    assert plan["loss"]["value"] == pytest.approx(losses.min(), rel=0.01)


def test_a_plan_for_repeated_data_reads_it_several_times() -> None:
    n, d, loss = repeated.best(MUENNIGHOFF[None], 1e23, 1e10)[0]
    once = best(np.array([[*MUENNIGHOFF[:4], 0.353]]), 1e23)[0]
    assert d > 1e10
    assert n < once[0]
    assert loss > once[2], "than with fresh data"


def test_both_ways_to_count_stand_side_by_side() -> None:
    """Parameters of the head that are not counted make the size seem to grow faster with compute."""
    runs = hoffmann_runs(0.001)
    body = runs.columns["parameters"] - 3e4 * 64 * (runs.columns["parameters"] / 1e7) ** (1 / 3)
    both = replace(runs, columns=dict(runs.columns) | {"non_embedding_parameters": body})
    found = FORMS["hoffmann"].fit(both, replace(ASKED, budgets=[]))
    exponents = {law.name: next(one.value for one in law.values if one.name == "a") for law in found.laws}
    assert len(exponents) == 4
    assert (
        exponents["alpha, beta free, non-embedding parameters"]
        > exponents["alpha, beta free, total parameters"]
    )


def test_what_a_form_cannot_do_is_one_sentence(tmp_path: Path) -> None:
    table = written(hoffmann_runs(), tmp_path / "runs.csv")
    wrong = {
        ("linear", 1e21): "--form linear: there are hoffmann, envelope",
        ("hoffmann", -1.0): "--budget is a number of FLOPs above 0",
        ("hoffmann", float("nan")): "--budget is a number of FLOPs above 0",
        ("critical-batch", 1e21): "--budget is not for form critical-batch",
        ("repeated", 1e21): "no column unique_tokens",
    }
    for (form, budget), said in wrong.items():
        with pytest.raises(InputError, match=said):
            scale(table, form, Request([budget], 20, 0), 0, None, str)
    one_size = hoffmann_runs().only(np.arange(0, 64, 8))
    with pytest.raises(InputError, match=r"all runs have .* in column parameters; form kaplan"):
        scale(written(one_size, tmp_path / "one.csv"), "kaplan", ASKED, 0, None, str)
    few = hoffmann_runs().only(np.array([0, 9, 18, 27, 36]))
    with pytest.raises(InputError, match="5 runs are too few; form hoffmann has 5 coefficients"):
        scale(written(few, tmp_path / "few.csv"), "hoffmann", ASKED, 0, None, str)
    once = tables()["repeated"]
    once = once.only(once.columns["tokens"] <= once.columns["unique_tokens"])
    with pytest.raises(InputError, match="0 runs read their data more than once"):
        scale(written(once, tmp_path / "once.csv"), "repeated", ASKED, 0, None, str)


def test_a_fit_that_did_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hoffmann, "fit", lambda *_: Fitted(LAW.theta(), 1.0, False))
    found = FORMS["hoffmann"].fit(hoffmann_runs(), replace(ASKED, budgets=[]))
    assert "alpha = beta, total parameters: the fit did not converge" in found.notes


def test_the_runs_that_read_nothing_twice_may_be_those_held_out() -> None:
    random = np.random.default_rng(0)
    n = np.concatenate([random.uniform(1e7, 1e8, 54), np.geomspace(5e8, 3e9, 6)])
    d = np.concatenate([random.uniform(1e9, 5e9, 54), np.geomspace(2e10, 9e10, 6)])
    unique = np.concatenate([np.full(54, 5e8), d[54:]])
    columns = {"parameters": n, "tokens": d, "unique_tokens": unique, "flops": 6 * n * d}
    loss = LAW.loss(n, d) * np.exp(0.003 * random.standard_normal(60))
    runs = Runs("runs.csv", columns | {"loss": loss}, ("",) * 60, "6ND")
    ((_, held),) = FORMS["repeated"].fit(runs, Request([], 20, 0)).held_out
    assert not repeated.once(runs.only(np.arange(54)).columns).any()
    assert held.fitted == 54
    assert np.isfinite(held.predicted).all()
