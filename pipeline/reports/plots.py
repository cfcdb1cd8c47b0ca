"""The figures of a report, drawn with matplotlib: findings in, figures by name out.

Imported inside the report alone: matplotlib takes half a second to load.
"""

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from data_prep.contract.names import printable
from data_prep.contract.report import Bars, Heatmaps, Line, Lines
from pipeline.reports.findings import Findings, StageView
from pipeline.tracking.metrics import Line as Metrics
from pipeline.tracking.metrics import series

PALETTE = ("#3a5a8c", "#c2571a", "#4f7d4f", "#8c3a6b", "#7a6a2f", "#2f7a78", "#1f2937")
LETTERS = 40
"""Of a label; longer ones are cut."""
PANELS = 3
"""Small panels in a row."""
SPEED = {
    "tokens_per_second": "tokens per second",
    "learning_rate": "learning rate",
    "gradient_norm": "gradient norm",
}
COMMON = {
    *SPEED,
    "step",
    "time",
    "loss",
    "model_flops_per_second",
    "data_wait_share",
    "restarts",
    "mfu",
    "peak_host_megabytes",
    "peak_device_megabytes",
    "checkpoint_stall_seconds",
    "checkpoint_write_seconds",
}
"""Metrics of every training."""
GREY, LIGHT = "#6b7280", "#d6dae1"
STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": "#9aa1ad",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": "#eceef2",
    "legend.frameon": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def styled() -> Any:
    """A context in which figures are drawn in the report's looks."""
    return mpl.rc_context(STYLE)


def figures(findings: Findings) -> dict[str, Figure]:
    """Every figure that the findings have data for, in the order they are shown in."""
    with mpl.rc_context(STYLE):
        drawn: dict[str, Figure] = {}
        for place, stage in enumerate(findings.stages):
            if stage.metrics and stage.shows_curves:
                drawn |= curves(stage, findings.levels(stage.folder), PALETTE[place % len(PALETTE)])
            for part in (part for section in stage.report.sections for part in section.parts):
                if isinstance(part, Bars):
                    drawn[part.name] = bars(part)
                elif isinstance(part, Lines):
                    drawn[part.name] = lines(part)
                elif isinstance(part, Heatmaps):
                    drawn[part.name] = heatmaps(part)
        return drawn


def curves(stage: StageView, levels: Mapping[str, float], colour: str) -> dict[str, Figure]:
    """What a training logged over its steps: NAME_loss, NAME_metrics and NAME_speed, those there are."""
    drawn = {f"{stage.name}_loss": loss_curve(stage, levels, colour)}
    own = own_metrics(stage.metrics)
    if own:
        drawn[f"{stage.name}_metrics"] = small_panels(
            stage, {name: name.replace("_", " ") for name in own}, colour
        )
    drawn[f"{stage.name}_speed"] = small_panels(stage, SPEED, colour)
    return drawn


def own_metrics(metrics: Sequence[Metrics]) -> list[str]:
    """The metrics that a training's task has of its own: those that no training has."""
    names = dict.fromkeys(name for line in metrics for name in line)
    return [name for name in names if name not in COMMON and not name.startswith("validation_")]


def svg(name: str, figure: Figure) -> str:
    """A figure as an <svg> element that may stand beside others in one page."""
    buffer = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}), any_letters():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def png(figure: Figure) -> bytes:
    """A figure as a PNG image."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE), any_letters():
        figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


@contextmanager
def any_letters() -> Iterator[None]:
    """Say nothing of letters that the font lacks: boxes stand for them in a PNG, and an SVG has the text."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def bars(chart: Bars) -> Figure:
    """Panels of horizontal bars, one below the other."""
    heights = [len(panel.rows) + 0.5 for panel in chart.panels]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.6 + 0.24 * sum(heights)), layout="constrained")
        axes = figure.subplots(len(chart.panels), 1, height_ratios=heights, squeeze=False)[:, 0]
        for number, (place, panel) in enumerate(zip(axes, chart.panels, strict=True)):
            place.set_title(plain(panel.title), fontsize=9, color=GREY, loc="left")
            _bars(place, panel.rows, PALETTE[number % len(PALETTE)])
    return figure


def _bars(axes: Any, rows: Sequence[tuple[str, float, str]], colour: str) -> None:
    """Horizontal bars from the top down, with their labels."""
    values = [value for _, value, _ in rows]
    drawn = axes.barh(range(len(rows)), values, color=colour, height=0.7)
    axes.bar_label(drawn, [plain(label) for *_, label in rows], padding=4, color=GREY, fontsize=8)
    axes.set_yticks(range(len(rows)), [plain(name) for name, *_ in rows])
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(0, 1.3 * max([1, *values])), xticks=[])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def loss_curve(stage: StageView, levels: Mapping[str, float], colour: str) -> Figure:
    """Train and validation loss over steps; losses to compare with, such as a unigram model's, as lines."""
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.subplots()
    steps, losses = series(stage.metrics, "loss")
    axes.plot(steps, losses, color=colour, alpha=0.25, linewidth=0.8)
    axes.plot(steps, smooth(losses), color=colour, linewidth=1.6, label="train")
    steps, losses = series(stage.metrics, "validation_loss")
    if steps:
        axes.plot(steps, losses, "o-", color="#1f2937", markersize=3.5, linewidth=1, label="validation")
        axes.annotate(
            f"{losses[-1]:.3f}", (steps[-1], losses[-1]), (7, 0), textcoords="offset points", va="center"
        )
    for label, level in levels.items():
        axes.axhline(level, color=GREY, linestyle="--", linewidth=1, label=f"{plain(label)} ({level:.2f})")
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.legend(loc="upper right")
    return figure


def small_panels(stage: StageView, panels: Mapping[str, str], colour: str) -> Figure:
    """Metrics over steps, side by side; those that have a validation's too, with it."""
    found = {name: series(stage.metrics, name) for name in panels}
    shown = {name: data for name, data in found.items() if data[0]}
    rows = max(1, -(-len(shown) // PANELS))
    figure = Figure(figsize=(7.2, 2.1 * rows), layout="constrained")
    for number, (name, (steps, values)) in enumerate(shown.items(), 1):
        axes = figure.add_subplot(rows, min(PANELS, max(1, len(shown))), number)
        axes.plot(steps, values, color=colour, linewidth=1.2)
        validated = series(stage.metrics, f"validation_{name}")
        if validated[0]:
            axes.plot(*validated, "o-", color="#1f2937", markersize=2.5, linewidth=0.8)
        axes.set_title(plain(panels[name]), fontsize=9, color=GREY, loc="left")
        axes.set_xlabel("step")
        if min(values) >= 0:
            axes.set_ylim(bottom=0, top=1.1 * float(np.quantile(values, 0.99)) or None)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4))
    return figure


def lines(chart: Lines) -> Figure:
    """Lines with intervals, and levels to compare them with; one without a label belongs to the last."""
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    ticks = sorted({x for line in chart.lines for x in line.x}) if chart.share else []
    number = -1
    for line in chart.lines:
        number += bool(line.label)
        x = [ticks.index(one) + 0.06 * number for one in line.x] if chart.share else list(line.x)
        _line(axes, line, x, PALETTE[number % len(PALETTE)])
    for label, level in chart.levels.items():
        axes.axhline(level, color=GREY, linestyle="--", linewidth=1, label=plain(label))
    axes.set(xlabel=plain(chart.x_label), ylabel=plain(chart.y_label))
    axes.set_xscale("log" if chart.log_x else "linear")
    axes.set_yscale("log" if chart.log_y else "linear")
    if chart.log_y:
        plain_decade(axes.yaxis)
    if chart.share:
        axes.set_xticks(range(len(ticks)), [f"{tick:g}" for tick in ticks])
        axes.set_ylim(0, 1)
        axes.set_xlim(-0.5, len(ticks) - 0.5)  # one count alone would be drawn as wide as models stand apart
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.legend(loc="upper left" if chart.share else "best", ncols=3 if chart.share else 1)
    return figure


def heatmaps(chart: Heatmaps) -> Figure:
    """Matrices side by side, darker where a share is larger, on a log scale; white where it is 0."""
    count = len(chart.panels)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(3.4, 3.1 * count), 3.4), layout="constrained")
        for number, (axes, panel) in enumerate(
            zip(np.ravel(figure.subplots(1, count)), chart.panels, strict=True)
        ):
            shares = np.array(panel.rows, dtype=float)
            seen = shares[shares > 0]
            least = float(np.quantile(seen, 0.05)) if seen.size else 0.5
            axes.imshow(
                np.ma.masked_less_equal(shares, 0),
                cmap="Blues",
                norm=LogNorm(max(0.3 * least, 1e-9), max(float(shares.max()), least)),
                interpolation="nearest",
            )
            axes.set_title(plain(panel.title), fontsize=9, color=GREY, loc="left")
            axes.set_xlabel(plain(chart.x_label))
            axes.set_ylabel(plain(chart.y_label) if number == 0 else "")
            axes.grid(visible=False)
    return figure


def plain_decade(axis: Any) -> None:
    """Numbers as they are, 3.5 and not 3.5 x 10^0, on a log axis of losses, which is less than a decade."""
    low, high = axis.get_view_interval()
    if 0 < low < high < 10 * low and 0.01 < low < 1e4:
        for place in (axis.set_major_formatter, axis.set_minor_formatter):
            place(lambda value, _: f"{value:.3g}")


def _line(axes: Any, line: Line, x: Sequence[float], colour: str) -> None:
    """Points with error bars, a line, or both; a line alone has a band."""
    y, label = np.array(line.y), plain(line.label)
    if line.style == "line":
        axes.plot(x, y, color=colour, label=label)
        if line.low:
            axes.fill_between(x, line.low, line.high, color=colour, alpha=0.15, linewidth=0)
        return
    reach = [y - line.low, np.array(line.high) - y] if line.low else None
    error = None if reach is None else np.clip(reach, 0, None)
    joined = line.style == "both"
    axes.errorbar(
        x, y, error, fmt="o-" if joined else "o", color=colour, capsize=3, label=label, ms=6 if joined else 4
    )


def plain(text: str) -> str:
    """A text that matplotlib shows as it is.

    A pair of $ would be mathematics, a legend leaves out what begins with _, no font has control
    characters, and a long name leaves no room for what it names.

    >>> plain("_a $b$")
    ' _a \\\\$b\\\\$'
    """
    line = " ".join(printable(text).split("\n"))
    line = (line if len(line) <= LETTERS else line[: LETTERS - 1] + "…").replace("$", r"\$")
    return f" {line}" if line.startswith("_") else line


def smooth(values: list[float]) -> list[float]:
    """Running mean whose window grows to a fortieth of the curve."""
    width = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    means: list[float] = ((sums[ends] - sums[starts]) / (ends - starts)).tolist()
    return means
