"""The kind of stage that fits scaling laws to finished runs, and says what they predict of others.

forecast: {kind: scaling, of: [2x64-1e12, ...], predict: {4x96-3e13: {parameters: ..., tokens: ...}}}
law:      {kind: scaling, of: [2x64-1e12, ..., 4x96-3e13], forecast: forecast}

runs.csv      a row a run, as `bloomery scale --table` takes it
curves.csv    a row a validation, for --form envelope
scaling.json  laws, forecasts, and how far an earlier forecast was off
charts.json   what is drawn of them
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, PositiveFloat

from data_prep.contract.reading import read_json
from data_prep.contract.receipt import Receipt, read_receipt, write_atomic
from data_prep.contract.report import Lines, StageReport
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.stages import DATASET, RUN, Input, Kind, Notify, Stage
from pipeline.reports.study import FIGURES, NUMBERS, study_report
from pipeline.scaling.forms import Request
from pipeline.scaling.measured import Measured, csv_text, curve_rows, curves_of, measure
from pipeline.scaling.study import (
    Outcome,
    envelope_chart,
    fit_all,
    forecasts,
    learning_curves,
    spread_of_seeds,
)
from pipeline.scaling.table import read_table

SCALING = "scaling"
RUNS, CURVES = "runs.csv", "curves.csv"


class ScalingConfig(Settings):
    predict: dict[str, dict[str, PositiveFloat]] = Field(default_factory=dict)
    """Runs by name, with their parameters, non_embedding_parameters, tokens and flops, to be predicted."""
    budgets: list[PositiveFloat] = Field(default_factory=list)
    """FLOPs for which the best size is said."""
    resamples: int = Field(400, ge=20, le=100_000)
    """Fits that each interval rests on."""


class Scaling(Kind):
    """`scaling`: laws of the losses of runs, each as a form of its own."""

    name, gives, settings = SCALING, SCALING, ScalingConfig
    inputs = (
        Input("of", (RUN,), many=True),
        Input("data", (DATASET,), required=False),
        Input("forecast", (SCALING,), required=False),
    )
    artifacts: ClassVar[tuple[str, ...]] = (RUNS, CURVES, NUMBERS)
    libraries = ("numpy",)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Read the runs, write their tables, fit every form, compare with the forecast."""
        settings = stage.settings
        assert isinstance(settings, ScalingConfig)
        measured = [measure(source.label, source.path) for source in stage.inputs["of"]]
        runs = [one for one in measured if one.ended]
        notes = [f"{one.name} is left out: its last loss is no number" for one in measured if not one.ended]
        if not runs:
            raise InputError(f"{stage.name}: no run has a last loss that is a number; nothing can be fitted")
        write_atomic(stage.folder / RUNS, csv_text(one.row() for one in runs))
        write_atomic(stage.folder / CURVES, csv_text(curve_rows(runs)))
        request = Request(settings.budgets, settings.resamples, stage.seed)
        outcomes, said = fitted(stage.folder, runs, request, settings.predict)
        for line in [*notes, *(f"{one.form}: {one.said}" for one in outcomes if one.said)]:
            notify(f"{stage.name}: {line}")
        count, spread = spread_of_seeds(runs)
        numbers = {
            "runs": [one.row() | {"seconds": finite(one.seconds)} for one in runs],
            "notes": notes,
            "seeds": {"runs": count, "log_loss_deviation": spread if count > 1 else None},
            "laws": [one.json() for one in outcomes],
            "forecasts": said,
            "compared": compared(stage, measured),
        }
        write_atomic(stage.folder / NUMBERS, json.dumps(numbers, indent=1) + "\n")
        charts = [finite(asdict(one)) for one in drawn(stage, runs, outcomes)]
        write_atomic(stage.folder / FIGURES, json.dumps(charts))
        for line in told(numbers):
            notify(f"{stage.name}: {line}")
        return {key: numbers[key] for key in ("forecasts", "compared")} | {"runs": len(runs), "notes": notes}

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """Tables and figures of what was found."""
        return study_report(folder, receipt)


def fitted(
    folder: Path, measured: Sequence[Measured], request: Request, wanted: dict[str, dict[str, float]]
) -> tuple[list[Outcome], list[dict[str, Any]]]:
    """Every form's outcome and the forecasts; where the table itself will not do, that as one sentence."""
    try:
        runs = read_table(folder / RUNS)
    except InputError as error:
        return [Outcome("every form", None, str(error))], []
    curves = curves_of(measured, str(folder / CURVES))
    said = [one.json() for one in forecasts(runs, wanted, request.resamples, request.seed)]
    return fit_all(runs, curves, request), said


def compared(stage: Stage, measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Each forecast of an earlier stage beside what its run came to, and whether it was written first."""
    source = stage.source("forecast")
    if source is None:
        return []
    receipt = read_receipt(source.path)
    assert receipt is not None
    runs = {one.name: one for one in measured if one.ended}
    return [
        one
        | {
            "measured": runs[one["run"]].last.loss,
            "error": one["loss"] / runs[one["run"]].last.loss - 1,
            "inside": one["low"] <= runs[one["run"]].last.loss <= one["high"],
            "before": receipt.finished <= runs[one["run"]].begun,
        }
        for one in read_json(source.path / NUMBERS)["forecasts"]
        if one["run"] in runs
    ]


def drawn(stage: Stage, runs: Sequence[Measured], outcomes: Sequence[Outcome]) -> list[Lines]:
    """All charts, by names that are the stage's alone."""
    found = [*learning_curves(runs)]
    envelope = envelope_chart(runs)
    found += [envelope] if envelope else []
    for one in outcomes:
        for chart in one.result.charts if one.result else ():
            found.append(replace(chart, name=f"{one.form}_{chart.name}"))
    return [replace(chart, name=f"{stage.name}_{chart.name}") for chart in found]


def finite(value: Any) -> Any:
    """Plain values with null for what is no number or beyond all numbers, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, list | tuple) else value


def told(numbers: dict[str, Any]) -> list[str]:
    """Lines for a terminal: forecasts, and what became of earlier ones."""
    lines = [f"{one['run']} will have a loss of {said_of(one)}" for one in numbers["forecasts"]]
    for one in numbers["compared"]:
        where = "inside" if one["inside"] else "outside"
        found = f"it is {one['measured']:.4f}, {one['error']:+.2%} off and {where} the interval"
        lines.append(f"{one['run']} was predicted to have {said_of(one)}; {found}")
    return lines


def said_of(one: dict[str, Any]) -> str:
    """A forecast in words."""
    return f"{one['loss']:.4f} ({one['low']:.4f} to {one['high']:.4f}) by {one['law']}"
