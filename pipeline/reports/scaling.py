"""The report of a scaling fit: a small page that needs nothing else, and its charts as images.

OUT/scaling.html, OUT/plots/*.png, OUT/scaling.json
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from data_prep.contract.lock import locked
from data_prep.contract.receipt import write_atomic
from data_prep.contract.report import Cell, Part, Section, Table, Text, short
from pipeline.reports.page import document, render
from pipeline.scaling.held_out import HeldOut
from pipeline.scaling.result import Result, Value

PAGE, NUMBERS, PLOTS = "scaling.html", "scaling.json", "plots"


def write_report(result: Result, out: Path) -> Path:
    """Write the page, its images and the numbers into a folder; returns the page's path."""
    from pipeline.reports.plots import lines, png, styled, svg

    with styled():
        drawn = {chart.name: lines(chart) for chart in result.charts}
    with locked(out, "writing", leave=False):
        (out / PLOTS).mkdir(parents=True, exist_ok=True)
        for name, figure in drawn.items():
            write_atomic(out / PLOTS / f"{name}.png", png(figure))
        write_atomic(out / NUMBERS, json.dumps(result.json(), indent=1) + "\n")
        write_atomic(out / PAGE, page(result, {name: svg(name, figure) for name, figure in drawn.items()}))
    return out / PAGE


def page(result: Result, pictures: dict[str, str]) -> str:
    """The whole page; `pictures` are <svg> elements by name."""
    shown = [
        (section.title, "".join(render(part, pictures) for part in section.parts))
        for section in sections(result)
    ]
    growth = [
        (f"{one.value:.3f}", f"exponent {one.name}", law.name + _span(one))
        for law in result.laws
        for one in law.values
        if one.name in ("a", "b", "alpha_B")
    ]
    tiles = [(str(result.runs), "runs", result.table), *growth[:4]]
    return document(f"Scaling law: {result.form}", tiles, shown)


def sections(result: Result) -> list[Section]:
    """What there is to show, as plain parts."""
    charts = [chart for chart in result.charts if not chart.name.startswith("held_out")]
    checked = [chart for chart in result.charts if chart.name.startswith("held_out")]
    found: list[tuple[str, list[Part]]] = [
        ("Coefficients", [Text(basis(result)), *map(Text, result.notes), coefficients(result)]),
        ("Budgets", [plans(result)] if result.plans else []),
        ("Curves", list(charts)),
        ("Held out", [*(held_out(name, one) for name, one in result.held_out), *checked]),
    ]
    return [Section(title, parts) for title, parts in found if parts]


def basis(result: Result) -> str:
    """What the numbers rest on, in a sentence or two."""
    told = f"{result.source}; {result.runs} runs of {result.table}."
    if result.counts:
        told += f" Parameters are {result.counts} ones"
        told += ", FLOPs are the table's." if result.flops_are == "given" else ", FLOPs are 6ND."
    bounded = any(not math.isnan(one.low) for law in result.laws for one in law.values)
    return told + (" Intervals hold 95 % of the resamples." if bounded else "")


def coefficients(result: Result) -> Table:
    """One row for each coefficient of each law."""
    rows: list[list[Cell]] = [
        [law.name if place == 0 else "", one.name, *map(number, (one.value, one.low, one.high))]
        for law in result.laws
        for place, one in enumerate(law.values)
    ]
    return Table(["law", "coefficient", "value", "from", "to"], rows, frozenset({2, 3, 4}))


def plans(result: Result) -> Table:
    """One row for each budget and law."""
    rows: list[list[Cell]] = [
        [f"{one.budget:.3g}", one.law, *(counted(value) for value in one.values), _ratio(one.values)]
        for one in result.plans
    ]
    names = [value.name for value in result.plans[0].values]
    return Table(["FLOPs", "law", *names, "tokens a parameter"], rows, frozenset(range(2, 3 + len(names))))


def held_out(name: str, found: HeldOut) -> Table:
    """Each run that was left out: predicted, the interval, measured."""
    columns = found.runs.columns
    rows: list[list[Cell]] = [
        [
            f"{columns['flops'][row]:.3g}",
            f"{found.predicted[row]:.4f}",
            f"{found.low[row]:.4f} to {found.high[row]:.4f}",
            f"{columns['loss'][row]:.4f}",
            f"{found.predicted[row] / columns['loss'][row] - 1:+.2%}",
        ]
        for row in range(len(found.runs))
    ]
    head = ["FLOPs", f"predicted by {name}", "interval", "measured", "error"]
    return Table(head, rows, frozenset(range(5)))


def counted(value: Value) -> str:
    """A planned number with its interval."""
    show = (lambda number: f"{number:.4f}") if value.name == "loss" else short
    bounds = "" if math.isnan(value.low) else f" ({show(value.low)} to {show(value.high)})"
    return show(value.value) + bounds


def number(value: float) -> str:
    """Four digits, and plain where that is short."""
    return "" if math.isnan(value) else f"{value:.4g}"


def _span(one: Value) -> str:
    return "" if math.isnan(one.low) else f": {one.low:.3f} to {one.high:.3f}"


def _ratio(found: Sequence[Value]) -> str:
    by_name = {one.name: one.value for one in found}
    return f"{by_name['tokens'] / by_name['parameters']:.1f}"


def table_lines(table: Table) -> list[str]:
    """A table as aligned lines for a terminal."""
    cells = [[str(cell) for cell in row] for row in [table.head, *table.rows]]
    widths = [max(len(row[place]) for row in cells) for place in range(len(table.head))]
    return [
        "  ".join(
            cell.rjust(width) if place in table.numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def summary(found: HeldOut, name: str) -> str:
    """The check in one line."""
    return (
        f"held out: {name} from {found.fitted} runs predicts the {len(found.runs)} largest, up to "
        f"{found.reach:.3g} times the compute, within {found.error:.2%} on average; "
        f"{found.inside} of {len(found.runs)} lie inside their intervals"
    )
