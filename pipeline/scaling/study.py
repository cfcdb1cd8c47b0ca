"""What the runs of a study say together: every form that fits them, and what the laws say of other runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.contract.report import Line, Lines
from data_prep.contract.settings import InputError
from pipeline.scaling import charts, hoffmann, kaplan
from pipeline.scaling.forms import FORMS, Request
from pipeline.scaling.measured import Measured
from pipeline.scaling.prediction import predict
from pipeline.scaling.result import Result
from pipeline.scaling.surface import Surface
from pipeline.scaling.table import Runs

ON_RUNS, ON_CURVES = ("hoffmann", "isoflop", "kaplan"), ("envelope",)
"""Forms that take a row for each run, and those that take whole curves."""
SURFACES: Mapping[str, Surface] = {
    "Hoffmann, alpha = beta": hoffmann.surface(tie=True),
    "Hoffmann, alpha, beta free": hoffmann.surface(tie=False),
    "Kaplan, L(N, D)": kaplan.SURFACE,
}
"""Laws that predict a run's loss; the first one's prediction counts, as it has the fewest coefficients that
extrapolate."""


@dataclass(frozen=True)
class Outcome:
    """A form and what became of it: a result, or a sentence that says why there is none."""

    form: str
    result: Result | None
    said: str = ""

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return self.result.json() if self.result else {"form": self.form, "said": self.said}


@dataclass(frozen=True)
class Forecast:
    """What a law says of a run."""

    law: str
    run: str
    loss: float
    low: float
    high: float

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))


def fit_all(runs: Runs, curves: Runs, request: Request) -> list[Outcome]:
    """Every form; one that cannot be fitted to these runs is a sentence."""
    return [
        *(_outcome(form, runs, request) for form in ON_RUNS),
        *(_outcome(form, curves, request) for form in ON_CURVES),
    ]


def _outcome(form: str, runs: Runs, request: Request) -> Outcome:
    try:
        return Outcome(form, FORMS[form].fit(runs, request))
    except InputError as error:
        return Outcome(form, None, str(error))


def forecasts(
    runs: Runs, wanted: Mapping[str, Mapping[str, float]], resamples: int, seed: int
) -> list[Forecast]:
    """What every law says of each of the runs in `wanted`, by name and columns.

    A law with as many coefficients as there are runs says nothing.
    """
    if not wanted:
        return []
    found = []
    for law, surface in SURFACES.items():
        if len(runs) <= surface.free:
            continue
        known = runs.counted("non-embedding") if surface is kaplan.SURFACE else runs
        names = list(wanted)
        columns = {
            name: np.array([wanted[one][name] for one in names]) for name in ("parameters", "tokens", "flops")
        }
        if known.counts == "non-embedding":
            columns["parameters"] = np.array([wanted[one]["non_embedding_parameters"] for one in names])
        said = predict(surface, known.columns, columns, resamples, seed)
        bounds = zip(names, said.loss, said.low, said.high, strict=True)
        found += [Forecast(law, one, float(loss), float(low), float(high)) for one, loss, low, high in bounds]
    return found


def spread_of_seeds(runs: Sequence[Measured]) -> tuple[int, float]:
    """How often the most repeated training was run, and the standard deviation of its log losses."""
    groups: dict[tuple[str, int, int], list[float]] = {}
    for one in runs:
        groups.setdefault((one.size, one.steps, one.batch), []).append(float(np.log(one.last.loss)))
    most = max(groups.values(), key=len)
    return len(most), float(np.std(most, ddof=1)) if len(most) > 1 else float("nan")


def learning_curves(runs: Sequence[Measured]) -> list[Lines]:
    """Validation loss of every run over tokens and over compute, a colour for each size."""
    found = []
    for name, label, place in (
        ("curves_over_tokens", "tokens", 0),
        ("curves_over_flops", "training FLOPs", 1),
    ):
        lines = [
            Line(
                size,
                [float(point[place]) for point in one.curve],
                [point.loss for point in one.curve],
                style="line",
            )
            for size, one in _by_size(runs)
        ]
        found.append(Lines(name, label, "validation loss (nats per token)", lines, log_x=True, log_y=True))
    return found


def _by_size(runs: Sequence[Measured]) -> list[tuple[str, Measured]]:
    """Runs, the smallest models first; the first run of each size with what the size is called."""
    ordered = sorted(runs, key=lambda one: (one.parameters, one.last.tokens))
    before = ""
    found = []
    for one in ordered:
        found.append(("" if one.size == before else f"{one.size}, {one.parameters:,} parameters", one))
        before = one.size
    return found


def envelope_chart(runs: Sequence[Measured]) -> Lines | None:
    """All curves over compute, the losses that nothing cheaper equals, and the power law through them.

    None where fewer than three moments are on the frontier.
    """
    flops = np.array([point.flops for one in runs for point in one.curve])
    loss = np.array([point.loss for one in runs for point in one.curve])
    x, lowest = kaplan.frontier(flops, loss)
    if len(x) < 3:
        return None
    law = kaplan.single(x, lowest)
    log_c, alpha = law.theta
    at = charts.reach(x)
    name = f"L = (C / {np.exp(log_c):.2e})^-{alpha:.3f}"
    lines = list(learning_curves(runs)[1].lines)
    lines.append(charts.points("lowest at its compute", x, lowest))
    lines.append(Line(name, at.tolist(), np.exp(alpha * (log_c - np.log(at))).tolist(), style="line"))
    return Lines(
        "envelope_over_flops",
        "training FLOPs",
        "validation loss (nats per token)",
        lines,
        log_x=True,
        log_y=True,
    )
