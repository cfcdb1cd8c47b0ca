"""What a fit has found, as plain data: the command prints it, the report shows it, --json gives it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data_prep.contract.report import Lines
from pipeline.scaling.bootstrap import interval
from pipeline.scaling.held_out import HeldOut
from pipeline.scaling.minimize import Array


@dataclass(frozen=True)
class Value:
    """A number with the bounds of its 95 % interval; NaN where it has none."""

    name: str
    value: float
    low: float
    high: float

    def text(self) -> str:
        """For people."""
        bounds = "" if math.isnan(self.low) else f" ({self.low:.4g}, {self.high:.4g})"
        return f"{self.value:.4g}{bounds}"


def values(names: Sequence[str], found: Array, resampled: Array) -> list[Value]:
    """Numbers [P] with intervals of their resamples [K, P]."""
    bounds = [interval(column) for column in resampled.T]
    return [Value(name, float(one), *ends) for name, one, ends in zip(names, found, bounds, strict=True)]


@dataclass(frozen=True)
class LawFound:
    name: str
    values: Sequence[Value]
    converged: bool = True
    objective: float | None = None
    """Sum of the Huber terms of log losses; None where lines were fitted."""


@dataclass(frozen=True)
class Plan:
    """The best model for a budget, by one law."""

    budget: float
    """FLOPs."""
    law: str
    values: Sequence[Value]
    """Parameters and tokens, and the loss where the law says one."""


@dataclass(frozen=True)
class Result:
    form: str
    source: str
    """Paper and section."""
    table: str
    runs: int
    counts: str
    """What parameters are: total or non-embedding; empty where the form has none."""
    flops_are: str
    laws: Sequence[LawFound]
    plans: Sequence[Plan] = ()
    held_out: Sequence[tuple[str, HeldOut]] = ()
    """By the law's name."""
    charts: Sequence[Lines] = ()
    notes: Sequence[str] = ()

    def json(self) -> dict[str, Any]:
        """Everything but the charts."""
        return {
            "form": self.form,
            "source": self.source,
            "table": self.table,
            "runs": self.runs,
            "parameters_are": self.counts,
            "flops_are": self.flops_are,
            "laws": [_law(one) for one in self.laws],
            "plans": [
                {"budget": one.budget, "law": one.law} | {v.name: _bounds(v) for v in one.values}
                for one in self.plans
            ],
            "held_out": [{"law": name} | _held_out(one) for name, one in self.held_out],
            "notes": list(self.notes),
        }


def _law(law: LawFound) -> dict[str, Any]:
    return {
        "law": law.name,
        "converged": law.converged,
        "objective": law.objective,
        "coefficients": {one.name: _bounds(one) for one in law.values},
    }


def _bounds(one: Value) -> dict[str, float | None]:
    """What is no number, or beyond all numbers, is null."""
    found = {"value": one.value, "low": one.low, "high": one.high}
    return {name: end if math.isfinite(end) else None for name, end in found.items()}


def _held_out(one: HeldOut) -> dict[str, Any]:
    names = ("flops", "loss")
    columns = {name: one.runs.columns[name].tolist() for name in names}
    bounds = {"predicted": one.predicted.tolist(), "low": one.low.tolist(), "high": one.high.tolist()}
    return {"runs": len(one.runs), "inside": one.inside, "mean_error": one.error, **columns, **bounds}
