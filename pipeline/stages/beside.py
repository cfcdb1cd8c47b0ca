"""The kind of stage that says whether one training is better than another, from runs with the same seeds.

gain: {kind: beside, of: [switch-1, switch-2, switch-3], beside: [dense-1, dense-2, dense-3]}
"""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from data_prep.contract.reading import read_json
from data_prep.contract.receipt import Receipt, write_atomic
from data_prep.contract.report import Cell, Line, Lines, Part, Section, StageReport, Table, Text, short
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.stages import RUN, Input, Kind, Notify, Source, Stage
from pipeline.checkpoints.run_folder import read_config
from pipeline.costs.flops import idle_weights
from pipeline.scaling.measured import Measured, measure

FOUND = "beside.json"
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""What 95 % of Student's t lie within, for 1 to 9 degrees of freedom (Student 1908)."""


class Difference(NamedTuple):
    """Of pairs."""

    mean: float
    low: float
    high: float
    """The 95 % interval of the mean, by Student's t."""


class Beside(Kind):
    """`beside`: losses of runs beside those of other runs, pair by pair."""

    name, gives, settings = "beside", "difference", Settings
    inputs = (Input("of", (RUN,), many=True), Input("beside", (RUN,), many=True))
    artifacts = (FOUND,)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Pair the runs; `InputError` where pairs differ in more than what is compared."""
        sides = [[_measured(one) for one in stage.inputs[key]] for key in ("of", "beside")]
        first, second = sides
        check_pairs(first, second, stage.name)
        loss = difference([(a.last.loss, b.last.loss) for a, b in zip(first, second, strict=True)])
        ratio = first[0].last.flops / second[0].last.flops
        active = [
            _active(one, source)
            for side, key in zip(sides, ("of", "beside"), strict=True)
            for one, source in zip(side, stage.inputs[key], strict=True)
        ]
        found = {
            "difference": loss._asdict(),
            "flops": ratio,
            "runs": [
                {
                    "run": one.name,
                    "side": side,
                    "seed": one.seed,
                    "parameters": one.parameters,
                    "active": count,
                    "flops": one.last.flops,
                    "seconds": one.seconds,
                    "curve": [[point.flops, point.loss] for point in one.curve],
                }
                for (side, one), count in zip(
                    [(side, one) for side, runs in zip(("of", "beside"), sides, strict=True) for one in runs],
                    active,
                    strict=True,
                )
            ],
        }
        write_atomic(stage.folder / FOUND, json.dumps(found, indent=1) + "\n")
        notify(f"{stage.name}: {sentence(found)}")
        return {"pairs": len(first)} | {f"difference_{name}": value for name, value in loss._asdict().items()}

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """The difference in a sentence, the curves and every run."""
        found = read_json(folder / FOUND)
        head = ["run", "seed", "parameters", "active", "FLOPs", "seconds", "loss"]
        rows: list[list[Cell]] = [
            [
                one["run"],
                str(one["seed"]),
                short(one["parameters"]),
                short(one["active"]),
                f"{one['flops']:.3g}",
                f"{one['seconds']:.0f}",
                f"{one['curve'][-1][1]:.4f}",
            ]
            for one in found["runs"]
        ]
        lines = [_line(found["runs"], side) for side in ("of", "beside")]
        chart = Lines(f"{folder.name}_curves", "training FLOPs", "validation loss (nats per token)", lines)
        parts: list[Part] = [Text(sentence(found)), chart, Table(head, rows, frozenset(range(1, len(head))))]
        return StageReport(sections=[Section(folder.name.replace("-", " ").capitalize(), parts)])


def difference(pairs: Sequence[tuple[float, float]]) -> Difference:
    """The mean of first minus second.

    >>> [round(value, 3) for value in difference([(1.0, 1.5), (1.2, 1.6), (1.1, 1.4)])]
    [-0.4, -0.648, -0.152]
    """
    found = [a - b for a, b in pairs]
    reach = STUDENT[len(found) - 2] * stdev(found) / len(found) ** 0.5
    return Difference(mean(found), mean(found) - reach, mean(found) + reach)


def check_pairs(first: Sequence[Measured], second: Sequence[Measured], name: str) -> None:
    """`InputError` where there are too few pairs, or a pair has other seeds, steps or batches."""
    if len(first) != len(second) or not 2 <= len(first) <= len(STUDENT) + 1:
        raise InputError(
            f"stages.{name}: of and beside have {len(first)} and {len(second)} runs; equally many are "
            f"expected, 2 to {len(STUDENT) + 1}"
        )
    for one, other in zip(first, second, strict=True):
        for what in ("seed", "steps", "batch"):
            pair = getattr(one, what), getattr(other, what)
            if pair[0] != pair[1]:
                raise InputError(
                    f"stages.{name}: {one.name} and {other.name} differ in {what} ({pair[0]} and {pair[1]}), "
                    "which would count as a difference of theirs"
                )


def sentence(found: dict[str, Any]) -> str:
    """What was found, with its interval; that it is none, where the interval has 0."""
    low, high, middle = (found["difference"][name] for name in ("low", "high", "mean"))
    runs = len(found["runs"]) // 2
    figures = f"{middle:+.4f} nats per token (95 % interval {low:+.4f} to {high:+.4f}, {runs} seeds"
    figures += f", {found['flops']:.3f} times the FLOPs)"
    if low <= 0.0 <= high:
        return f"No difference in loss shows at this size: {figures}."
    return f"The first runs have the {'lower' if middle < 0 else 'higher'} loss: {figures}."


def _measured(source: Source) -> Measured:
    run = measure(source.label, source.path)
    if not run.ended:
        raise InputError(f"{source.place}: its last step has no loss that is a number")
    return run


def _active(run: Measured, source: Source) -> int:
    return run.parameters - idle_weights(read_config(source.path).model)


def _line(runs: Sequence[dict[str, Any]], side: str) -> Line:
    """Means over the seeds, with the least and the largest."""
    own = [one for one in runs if one["side"] == side]
    x = [point[0] for point in own[0]["curve"]]
    losses = list(zip(*([point[1] for point in one["curve"]] for one in own), strict=True))
    low, high = [min(one) for one in losses], [max(one) for one in losses]
    return Line(own[0]["run"].rpartition("-")[0] or side, x, [mean(one) for one in losses], low, high, "line")
