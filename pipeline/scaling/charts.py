"""Charts of a fit: laws as lines with bands, runs as points, all on log axes."""

from collections.abc import Callable, Sequence

import numpy as np

from data_prep.contract.report import Line, Lines, short
from pipeline.scaling.allocation import Allocation
from pipeline.scaling.bootstrap import ENDS
from pipeline.scaling.critical_batch import Sweep
from pipeline.scaling.held_out import HeldOut
from pipeline.scaling.isoflop import Profile
from pipeline.scaling.minimize import Array
from pipeline.scaling.table import Runs

STEPS = 40
"""Points of a drawn law."""


def points(label: str, x: Array, y: Array) -> Line:
    """Runs."""
    order = np.argsort(x, kind="stable")
    return Line(label, x[order].tolist(), y[order].tolist(), style="points")


def band(label: str, x: Array, y: Array, resampled: Array | None = None) -> Line:
    """A law over x [R], with the band in which 95 % of its resamples [K, R] lie."""
    if resampled is None:
        return Line(label, x.tolist(), y.tolist(), style="line")
    low, high = np.nanquantile(resampled, ENDS, axis=0)
    return Line(label, x.tolist(), y.tolist(), low.tolist(), high.tolist(), style="line")


def reach(x: Array, more: Sequence[float] = ()) -> Array:
    """Values from the least to the most, evenly spaced in logs."""
    return np.geomspace(min([x.min(), *more]), max([x.max(), *more]), STEPS)


def frontier(
    runs: Runs, budgets: Sequence[float], best: Callable[[float], tuple[Array, Array]]
) -> list[Lines]:
    """Loss and size over compute; `best` gives (N, D, L) [3] and those of resamples [K, 3] for a budget."""
    flops = reach(runs.columns["flops"], budgets)
    found = [best(budget) for budget in flops]
    own, again = (
        np.stack([one for one, _ in found]),
        np.stack([more for _, more in found], 1),
    )  # [R, 3], [K, R, 3]
    charts = []
    for place, (name, label, y) in enumerate(
        (
            ("size", "parameters", runs.columns["parameters"]),
            ("tokens", "tokens", runs.columns["tokens"]),
            ("loss", "loss (nats per token)", runs.columns["loss"]),
        )
    ):
        law = band("best, with 95 % interval", flops, own[:, place], again[..., place])
        lines = [points("runs", runs.columns["flops"], y), law]
        charts.append(Lines(f"{name}_over_flops", "training FLOPs", label, lines, log_x=True, log_y=True))
    return [charts[2], *charts[:2]]


def predictions(name: str, found: HeldOut) -> Lines:
    """The largest runs: predicted with intervals, and measured."""
    flops, loss = found.runs.columns["flops"], found.runs.columns["loss"]
    predicted = Line(
        "predicted from the smaller runs",
        flops.tolist(),
        found.predicted.tolist(),
        found.low.tolist(),
        found.high.tolist(),
        style="points",
    )
    lines = [predicted, points("measured", flops, loss)]
    return Lines(f"held_out_{name}", "training FLOPs", "loss (nats per token)", lines, log_x=True)


def allocation(found: Allocation, budgets: Sequence[float]) -> list[Lines]:
    """Best size and tokens over compute, by approaches 1 and 2."""
    flops = reach(found.flops, budgets)
    drawn = [found.at(budget) for budget in flops]
    own, again = np.stack([one for one, _ in drawn]), np.stack([more for _, more in drawn], 1)
    shown = slice(None, None, max(1, len(found.flops) // 100))
    charts = []
    for place, (label, y) in enumerate((("parameters", found.parameters), ("tokens", found.tokens))):
        law = band("law, with 95 % interval", flops, own[:, place], again[..., place])
        lines = [points("best", found.flops[shown], y[shown]), law]
        charts.append(Lines(f"{label}_over_flops", "training FLOPs", label, lines, log_x=True, log_y=True))
    return charts


def profiles(found: Sequence[Profile]) -> Lines:
    """The runs of each budget and their parabola."""
    lines = []
    for one in found:
        label = f"{one.flops:.2g} FLOPs, best {short(np.exp(one.best))}"
        log_n = np.linspace(one.log_n.min(), one.log_n.max(), STEPS)
        lines += [band(label, np.exp(log_n), one.at(log_n)), points("", np.exp(one.log_n), one.loss)]
    return Lines("parabolas", "parameters", "loss (nats per token)", lines, log_x=True)


def critical(found: Sweep) -> Lines:
    """The critical batch over the loss."""
    loss = reach(found.loss)
    log_b, alpha = found.law
    law = np.exp(log_b - np.log(loss) / alpha)
    again = np.exp(found.laws[:, :1] - np.log(loss) / found.laws[:, 1:])
    lines = [points("critical batch", found.loss, found.critical), band("law", loss, law, again)]
    return Lines("critical_batch", "loss (nats per token)", "tokens", lines, log_x=True, log_y=True)


def single(name: str, x_label: str, x: Array, loss: Array, theta: Array, again: Array) -> Lines:
    """One of Kaplan's laws of one variable, `theta` [2] its (log x_c, exponent)."""
    at = reach(x)

    def law(rows: Array) -> Array:
        return np.exp(rows[:, 1:] * (rows[:, :1] - np.log(at)))

    lines = [points("best", x, loss), band(name, at, law(theta[None])[0], law(again))]
    label = "loss (nats per token)"
    return Lines(
        f"lowest_loss_over_{x_label.split()[-1].lower()}", x_label, label, lines, log_x=True, log_y=True
    )
