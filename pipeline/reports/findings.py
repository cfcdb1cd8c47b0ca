"""What a work folder holds, read for people: its stages with their receipts, metrics and reports.

Every part may be missing; what is not there yet is left out. What a stage has to say comes from its kind
(`data_prep.contract.stages.Kind.report`), which is given to `collect`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.contract.reading import read_json
from data_prep.contract.receipt import Receipt, kind_of, read_receipt, write_atomic
from data_prep.contract.report import Curves, Headline, StageReport
from pipeline.tracking.metrics import METRICS, Line, read, series

GRAPH = "stages.json"
"""In a work folder: its stages in the order in which they follow one another, with what each reads."""
USUAL = {"dataset": "prep", "pretrain": "pretrain", "tune": "instruct", "eval": "evaluate"}
"""The stages of a work folder that has no such file, with their kinds."""

Tell = Callable[[str, Path, Receipt], StageReport]
"""From a kind, a stage's folder and its receipt to what it has to say."""


@dataclass(frozen=True)
class StageView:
    """One stage of a work folder that has begun."""

    name: str
    kind: str
    folder: Path
    needs: tuple[str, ...]
    """The stages that it reads."""
    receipt: Receipt | None
    """None where it has not ended."""
    metrics: list[Line]
    report: StageReport

    @property
    def shows_curves(self) -> bool:
        """Whether its curves stand in the report: where it says so, and where it has not ended."""
        parts = [part for section in self.report.sections for part in section.parts]
        return self.receipt is None or any(isinstance(part, Curves) for part in parts)

    def last(self, name: str) -> float | None:
        """The last finite value of a metric."""
        _, values = series(self.metrics, name)
        return values[-1] if values else None


@dataclass(frozen=True)
class Findings:
    """Everything the report shows of a work folder."""

    work: Path
    stages: list[StageView]

    @property
    def name(self) -> str:
        """What the work folder is called."""
        return self.work.resolve().name

    @property
    def finished(self) -> Iterator[tuple[StageView, Receipt]]:
        """The stages that have ended, with their receipts."""
        return ((stage, stage.receipt) for stage in self.stages if stage.receipt)

    @property
    def trained(self) -> list[StageView]:
        """The stages that left checkpoints."""
        return [stage for stage in self.stages if (stage.folder / "checkpoints").is_dir()]

    def dataset(self) -> Path | None:
        """The folder of the first dataset."""
        return next(
            (stage.folder for stage in self.stages if (stage.folder / "manifest.json").is_file()), None
        )

    def label(self, run: Path) -> str:
        """What a run is called where it was looked at, else its folder's name."""
        for stage in reversed(self.stages):
            for label, place in stage.report.places.items():
                if Path(place).resolve() == run.resolve():
                    return label
        return run.name

    def figures(self, run: Path) -> dict[str, float]:
        """What was found of a run's model, by the stage that looked at it last."""
        found: dict[str, float] = {}
        for stage in self.stages:
            for label, place in stage.report.places.items():
                if Path(place).resolve() == run.resolve():
                    found |= stage.report.figures.get(label, {})
        return found

    def levels(self, run: Path) -> dict[str, float]:
        """Losses to compare a run's with."""
        found: dict[str, float] = {}
        for stage in self.stages:
            for place, levels in stage.report.levels.items():
                if Path(place).resolve() == run.resolve():
                    found |= levels
        return found


def collect(work: Path, tell: Tell) -> Findings:
    """Read a work folder."""
    found = []
    for name, about in graph(work).items():
        folder = work / name
        receipt, metrics = read_receipt(folder), read(folder / METRICS)
        if receipt is None and not metrics:
            continue
        kind = kind_of(receipt) if receipt else about["kind"]
        report = tell(kind, folder, receipt) if receipt else StageReport()
        found.append(StageView(name, kind, folder, tuple(about["needs"]), receipt, metrics, report))
    return Findings(work, found)


def graph(work: Path) -> dict[str, dict[str, Any]]:
    """The stages of a work folder: `kind` and `needs` of each by name, in order."""
    path = work / GRAPH
    if path.is_file():
        found: dict[str, dict[str, Any]] = read_json(path)
        return found
    needs: dict[str, list[str]] = {"dataset": [], "pretrain": ["dataset"], "tune": ["pretrain", "dataset"]}
    needs["eval"] = [*(name for name in ("pretrain", "tune") if read_receipt(work / name)), "dataset"]
    return {name: {"kind": kind, "needs": needs[name]} for name, kind in USUAL.items()}


def write_graph(work: Path, stages: dict[str, dict[str, Any]]) -> None:
    """Leave a recipe's graph in its work folder, for whoever reads that without the recipe."""
    work.mkdir(parents=True, exist_ok=True)
    write_atomic(work / GRAPH, json.dumps(stages, indent=2) + "\n")


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run by their steps."""
    found = (run / "checkpoints").glob("step-*")
    return sorted((path for path in found if path.name.removeprefix("step-").isdigit()), key=step_of)


def last_checkpoint(run: Path) -> Path | None:
    """The checkpoint of a run with the most steps."""
    return max(checkpoints(run), key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """Optimizer steps of a checkpoint, from its name."""
    return int(checkpoint.name.removeprefix("step-"))


def headlines(findings: Findings) -> list[Headline]:
    """The figures to put first: what the last stages found comes before what the first ones did."""
    return [one for stage in reversed(findings.stages) for one in stage.report.headlines]
