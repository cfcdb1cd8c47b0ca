"""The report of a scaling study, from what its stage left: runs, forecasts, laws and charts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.contract.reading import read_json
from data_prep.contract.receipt import Receipt
from data_prep.contract.report import (
    Cell,
    Headline,
    Line,
    Lines,
    Part,
    Section,
    StageReport,
    Table,
    Text,
    short,
)
from pipeline.reports.scaling import number

NUMBERS, FIGURES = "scaling.json", "charts.json"
"""What a stage of kind scaling leaves for its report."""
GROUPS = {
    "Learning curves": ("curves_over_tokens", "curves_over_flops", "envelope_over_flops"),
    "Loss over parameters, tokens and compute": ("kaplan_lowest_loss_over",),
    "Parabolas of equal compute": ("isoflop_",),
    "The best size for a budget": ("hoffmann_", "kaplan_", "envelope_"),
}
"""Sections of charts by how their names begin behind the stage's; the first that fits counts."""


def study_report(folder: Path, receipt: Receipt) -> StageReport:
    """What the stage in `folder` says. A forecast that a later stage compares is shown there alone."""
    numbers = read_json(folder / NUMBERS)
    charts = [chart(one) for one in read_json(folder / FIGURES)]
    if numbers["forecasts"] and not numbers["compared"]:
        return StageReport(sections=[Section("Forecast", forecast(numbers["forecasts"], receipt))])
    sections = [
        Section("Scaling study", [*words(numbers), runs_table(numbers["runs"])]),
        Section("Predicted before it was trained", compared(numbers["compared"])),
        Section("Scaling laws", laws(numbers["laws"])),
        *(Section(title, parts) for title, parts in grouped(receipt.stage, charts).items()),
    ]
    return StageReport(headlines(numbers), [one for one in sections if one.parts])


def chart(plain: Mapping[str, Any]) -> Lines:
    """A chart from plain values."""
    lines = [
        Line(**{**one, **{axis: known(one[axis]) for axis in ("x", "y", "low", "high")}})
        for one in plain["lines"]
    ]
    return Lines(**{**plain, "lines": lines})


def known(values: Sequence[float | None]) -> list[float]:
    """Numbers, with NaN for those that are none."""
    return [float("nan") if one is None else one for one in values]


def grouped(stage: str, charts: Sequence[Lines]) -> dict[str, list[Part]]:
    """Charts by section."""
    found: dict[str, list[Part]] = {title: [] for title in GROUPS}
    for one in charts:
        name = one.name.removeprefix(f"{stage}_")
        title = next((title for title, begins in GROUPS.items() if name.startswith(begins)), None)
        found.setdefault(title or "Further charts", []).append(one)
    return found


def headlines(numbers: Mapping[str, Any]) -> list[Headline]:
    """How far the prediction was off, and how the best size grows with compute."""
    found = []
    for one in numbers["compared"][:1]:
        note = f"{one['run']}: predicted {one['loss']:.4f}, measured {one['measured']:.4f}"
        found.append(Headline("prediction error", f"{one['error']:+.2%}", note))
    for law in numbers["laws"]:
        for part in law.get("laws", [])[:1]:
            power = part["coefficients"].get("a")
            if power and power["value"] is not None:
                found.append(
                    Headline("exponent a of N ~ C^a", f"{power['value']:.3f}", f"form {law['form']}")
                )
    return found


def words(numbers: Mapping[str, Any]) -> list[Part]:
    """What the table shows, and how much is chance."""
    found: list[Part] = [
        Text(
            "Each run is of its own, and its learning rate comes down to its own end. FLOPs are those of the "
            "model's products with the output head and without embedding lookups, half of attention where it "
            "is causal; losses are on validation samples."
        )
    ]
    seeds = numbers["seeds"]
    if seeds["log_loss_deviation"] is not None:
        found.append(
            Text(
                f"The middle run was made {seeds['runs']} times with other seeds: the standard deviation of "
                f"its loss is {seeds['log_loss_deviation']:.2%}."
            )
        )
    return [*found, *(Text(line) for line in numbers["notes"])]


def runs_table(runs: Sequence[Mapping[str, Any]]) -> Table:
    """One row for each run."""
    rows: list[list[Cell]] = [
        [
            one["run"],
            f"{one['parameters']:,}",
            short(one["tokens"]),
            f"{one['tokens'] / one['parameters']:.1f}",
            f"{one['flops']:.3g}",
            f"{one['training_steps']:,} x {one['batch_sequences']}",
            f"{one['learning_rate']:.2e}",
            f"{one['seconds']:,.0f}" if one["seconds"] is not None else "",
            f"{one['loss']:.4f}",
        ]
        for one in runs
    ]
    head = ["run", "parameters", "tokens", "a parameter", "FLOPs", "steps x batch", "rate", "seconds", "loss"]
    return Table(head, rows, frozenset(range(1, len(head))))


def forecast(said: Sequence[Mapping[str, Any]], receipt: Receipt) -> list[Part]:
    """What was said before the runs began."""
    rows: list[list[Cell]] = [
        [one["run"], one["law"], f"{one['loss']:.4f}", f"{one['low']:.4f} to {one['high']:.4f}"]
        for one in said
    ]
    told = f"Written from {receipt.counts['runs']} smaller runs, before these were trained."
    return [Text(told), Table(["run", "law", "predicted loss", "95 % interval"], rows, frozenset({2, 3}))]


def compared(said: Sequence[Mapping[str, Any]]) -> list[Part]:
    """Prediction, interval and result."""
    if not said:
        return []
    rows: list[list[Cell]] = [
        [
            one["run"],
            one["law"],
            f"{one['loss']:.4f}",
            f"{one['low']:.4f} to {one['high']:.4f}",
            f"{one['measured']:.4f}",
            f"{one['error']:+.2%}",
            "inside" if one["inside"] else "outside",
            "before" if one["before"] else "after it had begun",
        ]
        for one in said
    ]
    head = ["run", "law", "predicted", "95 % interval", "measured", "off by", "interval", "written"]
    note = "The first law's prediction counts; the others show what their forms would have said."
    return [Text(note), Table(head, rows, frozenset({2, 3, 4, 5}))]


def laws(found: Sequence[Mapping[str, Any]]) -> list[Part]:
    """The coefficients of every form that could be fitted, and a sentence for each that could not."""
    rows: list[list[Cell]] = []
    said: list[Part] = []
    for one in found:
        if "said" in one:
            said.append(Text(f"{one['form']}: no law. {one['said']}."))
            continue
        for law in one["laws"]:
            for place, (name, value) in enumerate(law["coefficients"].items()):
                ends = (
                    number(value[key]) if value[key] is not None else "" for key in ("value", "low", "high")
                )
                rows.append([f"{one['form']}: {law['law']}" if place == 0 else "", name, *ends])
        said += [Text(f"{one['form']}: {note}.") for note in one["notes"]]
    table = Table(["law", "coefficient", "value", "from", "to"], rows, frozenset({2, 3, 4}))
    return [table, *said] if rows else said
