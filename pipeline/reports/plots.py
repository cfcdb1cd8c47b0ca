"""The figures of a report, drawn with matplotlib: findings in, figures by name out.

Imported inside the report alone: matplotlib takes half a second to load.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from pipeline.reports.findings import TRAINED, Findings
from pipeline.tracking.metrics import series

COLOURS = {"pretrained": "#3a5a8c", "tuned": "#c2571a", "other": "#4f7d4f"}
MOST_RULES = 20
"""Rules in the funnel's lower half; those that removed most."""
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


def figures(findings: Findings) -> dict[str, Figure]:
    """Every figure that the findings have data for, in the order they are shown in."""
    with mpl.rc_context(STYLE):
        drawn: dict[str, Figure] = {}
        if findings.funnel:
            drawn["funnel"] = funnel(findings.funnel)
        for stage, model in TRAINED.items():
            if stage in findings.metrics:
                drawn[f"{stage}_loss"] = loss_curve(findings, stage, COLOURS[model])
                drawn[f"{stage}_speed"] = speed_and_schedule(findings, stage, COLOURS[model])
        if any(run["shots"] for run in findings.results.get("runs", {}).values()):
            drawn["shots"] = shot_curve(findings.results)
        return drawn


def svg(name: str, figure: Figure) -> str:
    """A figure as an <svg> element that may stand beside others in one page."""
    buffer = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def png(figure: Figure) -> bytes:
    """A figure as a PNG image."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def funnel(steps: Sequence[Mapping[str, Any]]) -> Figure:
    """Documents left after each step of data preparation, and below what each rule took away."""
    removed = [item for step in steps for item in step["removed"].items()]
    rules = sorted(removed, key=lambda item: -item[1])[:MOST_RULES]
    left = [(step["step"], step["documents"]) for step in steps]
    first = max(1, left[0][1])
    panels = [("documents left after", left, COLOURS["pretrained"], lambda n: f"{n:,}  {n / first:.1%}")]
    if rules:
        panels.append(("removed by", rules, COLOURS["tuned"], lambda n: f"{n:,}"))
    heights = [len(rows) + 0.5 for _, rows, _, _ in panels]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.6 + 0.24 * sum(heights)), layout="constrained")
        axes = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0]
        for place, (title, rows, colour, label) in zip(axes, panels, strict=True):
            place.set_title(title, fontsize=9, color=GREY, loc="left")
            _bars(place, rows, colour, label)
    return figure


def _bars(axes: Any, rows: Sequence[tuple[str, int]], colour: str, label: Callable[[int], str]) -> None:
    """Horizontal bars from the top down, with their values."""
    values = [value for _, value in rows]
    bars = axes.barh(range(len(rows)), values, color=colour, height=0.7)
    axes.bar_label(bars, [label(value) for value in values], padding=4, color=GREY, fontsize=8)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(0, 1.3 * max([1, *values])), xticks=[])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def loss_curve(findings: Findings, stage: str, colour: str) -> Figure:
    """Train and validation loss over steps; the unigram model's loss as a line where it is known."""
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.subplots()
    steps, losses = series(findings.metrics[stage], "loss")
    axes.plot(steps, losses, color=colour, alpha=0.25, linewidth=0.8)
    axes.plot(steps, smooth(losses), color=colour, linewidth=1.6, label="train")
    steps, losses = series(findings.metrics[stage], "validation_loss")
    if steps:
        axes.plot(steps, losses, "o-", color="#1f2937", markersize=3.5, linewidth=1, label="validation")
        axes.annotate(
            f"{losses[-1]:.3f}", (steps[-1], losses[-1]), (0, 8), textcoords="offset points", ha="right"
        )
    if stage == "pretrain" and (unigram := findings.unigram_in_training) is not None:
        label = f"unigram model ({unigram:.2f})"
        axes.axhline(unigram, color=GREY, linestyle="--", linewidth=1, label=label)
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.legend(loc="upper right")
    return figure


def speed_and_schedule(findings: Findings, stage: str, colour: str) -> Figure:
    """Throughput, learning rate and gradient norm over steps, those that were logged."""
    panels = {
        "tokens_per_second": "tokens per second",
        "learning_rate": "learning rate",
        "gradient_norm": "gradient norm",
    }
    found = {name: series(findings.metrics[stage], name) for name in panels}
    shown = {name: data for name, data in found.items() if data[0]}
    figure = Figure(figsize=(7.2, 2.1), layout="constrained")
    for number, (name, (steps, values)) in enumerate(shown.items(), 1):
        axes = figure.add_subplot(1, len(shown), number)
        axes.plot(steps, values, color=colour, linewidth=1.2)
        axes.set_title(panels[name], fontsize=9, color=GREY, loc="left")
        axes.set_xlabel("step")
        axes.set_ylim(bottom=0, top=1.1 * float(np.quantile(values, 0.99)) or None)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4))
    return figure


def shot_curve(results: dict[str, Any]) -> Figure:
    """Accuracy over the number of examples with 95 % intervals, and chance."""
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    shots = sorted({one["shots"] for run in results["runs"].values() for one in run["shots"]})
    places = {count: place for place, count in enumerate(shots)}
    for number, (name, run) in enumerate(results["runs"].items()):
        x = [places[one["shots"]] + 0.06 * number for one in run["shots"]]
        accuracy = np.array([one["accuracy"] for one in run["shots"]])
        reach = [
            accuracy - [one["low"] for one in run["shots"]],
            [one["high"] for one in run["shots"]] - accuracy,
        ]
        colour = COLOURS.get(name, COLOURS["other"])
        axes.errorbar(x, accuracy, np.clip(reach, 0, None), fmt="o-", color=colour, capsize=3, label=name)
    chance = results["task"]["chance"]
    axes.axhline(chance, color=GREY, linestyle="--", linewidth=1, label=f"chance ({chance:.0%})")
    axes.set_xticks(range(len(shots)), [str(count) for count in shots])
    axes.set(xlabel="examples before the question", ylabel="accuracy", ylim=(0, 1))
    axes.set_xlim(-0.5, len(shots) - 0.5)  # one count alone would be drawn as wide as the models stand apart
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.legend(loc="upper left", ncols=3)
    return figure


def smooth(values: list[float]) -> list[float]:
    """Running mean whose window grows to a fortieth of the curve."""
    width = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    means: list[float] = ((sums[ends] - sums[starts]) / (ends - starts)).tolist()
    return means
