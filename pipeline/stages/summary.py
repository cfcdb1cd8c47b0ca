"""A work folder's report and its run in MLflow, put together from what every kind of stage says."""

from collections.abc import Callable, Mapping
from pathlib import Path

from data_prep.contract.receipt import Receipt
from data_prep.contract.report import Section, StageReport, Table
from data_prep.contract.stages import Kind
from pipeline.config import TrackingConfig
from pipeline.reports.findings import Findings, collect
from pipeline.reports.publish import publish, track_stage
from pipeline.reports.report import write_report
from pipeline.tracking.tracker import flatten


def findings_of(work: Path, kinds: Mapping[str, Kind]) -> Findings:
    """What a work folder holds, told by the kinds of its stages."""

    def tell(kind: str, folder: Path, receipt: Receipt) -> StageReport:
        return kinds[kind].report(folder, receipt) if kind in kinds else counted(folder, receipt)

    return collect(work, tell)


def counted(folder: Path, receipt: Receipt) -> StageReport:
    """The report of a stage whose kind is not at hand, such as an imported model: its counts."""
    numbers = {
        name: value for name, value in flatten(receipt.counts).items() if isinstance(value, int | float)
    }
    rows = [[name, f"{value:,}"] for name, value in numbers.items()]
    return StageReport(
        sections=[Section(folder.name.capitalize(), [Table(["count", ""], rows, frozenset({1}))])]
    )


def track(
    work: Path, name: str, kinds: Mapping[str, Kind], settings: TrackingConfig, notify: Callable[[str], None]
) -> None:
    """Tell MLflow of a finished stage that computes."""
    findings = findings_of(work, kinds)
    stage = next(one for one in findings.stages if one.name == name)
    kind = kinds[stage.kind]
    track_stage(stage, findings, settings, kind.artifacts, kind.tables, notify)


def summarise(
    work: Path, kinds: Mapping[str, Kind], settings: TrackingConfig, notify: Callable[[str], None]
) -> Path:
    """Write the report and tell MLflow what came out; returns the report's path."""
    findings = findings_of(work, kinds)
    report = write_report(findings)
    publish(findings, settings, notify)
    return report
