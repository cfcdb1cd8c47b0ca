"""What MLflow is told of finished stages and of a whole work folder.

One parent run a work folder, its stages nested in it. The parent's description and metrics say what came out,
so that a list of runs is worth looking at; the report and its plots are the parent's artifacts.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.contract.dataset import MANIFEST, Manifest
from data_prep.contract.receipt import RECEIPT, fingerprint, read_receipt, write_atomic
from data_prep.contract.settings import InputError
from pipeline.config import TrackingConfig
from pipeline.evaluation.evaluate import RESULTS, SAMPLES
from pipeline.evaluation.findings import STAGES, Findings, collect, headlines
from pipeline.evaluation.report import PLOTS, REPORT
from pipeline.tracking.record import STAGE_RECORD, Record, read_state, sole_sender
from pipeline.tracking.tracker import Courier, Tracker, describe_dataset, flatten, one_line, parent_record

TABLE = "prompts_and_answers.json"


def track_stage(
    work: Path, folder: str, settings: TrackingConfig, notify: Callable[[str], None] = print
) -> None:
    """Tell MLflow of the finished stage in `work/folder` that logs no steps: data preparation or evaluation.

    Telling it again is harmless; a stage of which MLflow knows everything is left alone.
    """
    receipt = read_receipt(work / folder)
    assert receipt is not None, folder
    known = read_state(work / folder / STAGE_RECORD)
    if known is not None and known.subject == receipt.fingerprint and known.run_id and not known.messages:
        return
    tracker = Tracker(
        work / folder,
        work,
        STAGES[folder],
        receipt.config,
        settings,
        notify,
        identity=receipt.fingerprint,
        started=receipt.finished - receipt.seconds,
    )
    tracker.start_from(0)
    if (work / "dataset" / MANIFEST).is_file():
        context = "output" if folder == "dataset" else "validation"
        tracker.dataset(read_manifest(work), work / "dataset", context)
    tracker.values({"seconds": receipt.seconds, **numbers(receipt.counts)}, receipt.finished)
    if (work / folder / SAMPLES).is_file():
        write_table(work / folder)
        tracker.tags({"mlflow.loggedArtifacts": json.dumps([{"path": TABLE, "type": "table"}])})
    for name in (RECEIPT, RESULTS, SAMPLES, TABLE):
        if (work / folder / name).is_file():
            tracker.artifact(work / folder / name)
    tracker.close("FINISHED")


def publish(work: Path, settings: TrackingConfig, notify: Callable[[str], None] = print) -> None:
    """Tell MLflow what came out of a work folder: headline figures, the report and its plots.

    A work folder of which MLflow knows everything is left alone.
    """
    findings, record = collect(work), parent_record(work, settings.experiment)
    receipts = list(findings.receipts.values())
    made_of = fingerprint([(receipt.fingerprint, receipt.finished) for receipt in receipts])
    if record.state.subject == made_of and not record.state.messages and record.state.run_id:
        return
    record.change(subject=made_of)
    finished = max((receipt.finished for receipt in receipts), default=0.0)
    record.post("tags", {"mlflow.note.content": description(findings), "bloomery.work": str(work.resolve())})
    record.post("values", results(findings), finished)
    if (work / "dataset" / MANIFEST).is_file():
        record.post("dataset", describe_dataset(read_manifest(work), work / "dataset", "training"))
    for name in (REPORT, PLOTS):
        if (work / name).exists():
            to = PLOTS if name == PLOTS else ""
            record.post("artifact", {"path": str((work / name).resolve()), "to": to})
    record.post("status", {"status": "FINISHED"}, finished)
    Courier(work, work, record, settings.enabled, notify).close(wait=30.0)


def read_manifest(work: Path) -> Manifest:
    """The manifest of a work folder's dataset."""
    return Manifest.model_validate_json((work / "dataset" / MANIFEST).read_bytes())


def sync(folder: Path, notify: Callable[[str], None] = print) -> int:
    """Send what MLflow does not have of a run, or of every run of a work folder; returns the steps sent.

    Raises `InputError` where nothing was tracked, where the server does not answer, and where the run is
    being written by a process that sends by itself.
    """
    found = [path for path in (folder, *sorted(folder.glob("*/"))) if (path / STAGE_RECORD).is_file()]
    work = folder if not (folder / STAGE_RECORD).is_file() else folder.resolve().parent
    records = [Record(path / STAGE_RECORD, path.name) for path in found]
    if not records:
        raise InputError(f"{folder}: no run was tracked here; give a run folder or a work folder")
    steps = 0
    for record in [*records, parent_record(work, records[0].state.experiment)]:
        courier = Courier(record.path.parent, work, record, True, notify)
        waiting = courier.waiting()
        try:
            with sole_sender(record.path):
                courier.send()
        except Exception as error:  # MLflow raises what its backends raise
            raise InputError(
                f"{record.path.parent}: MLflow at {courier.uri} cannot be used ({one_line(error)}); "
                "start it or set MLFLOW_TRACKING_URI, then sync again"
            ) from error
        steps += waiting
    return steps


def description(findings: Findings) -> str:
    """The headline figures as markdown: what MLflow shows above everything else."""
    lines = [f"| {one.label} | **{one.value}** | {one.note} |" for one in headlines(findings)]
    place = findings.work.resolve()
    table = ["| | | |", "| --- | --- | --- |", *lines, ""] if lines else []
    return "\n".join(
        [*table, f"Report: `{place / REPORT}` (also among the artifacts)", "", f"Work folder: `{place}`"]
    )


def results(findings: Findings) -> dict[str, float]:
    """The figures that make the runs of an experiment comparable, by name."""
    found: dict[str, float] = {}
    if findings.unigram is not None:
        found["unigram_loss"] = findings.unigram
    for name, run in findings.results.get("runs", {}).items():
        found |= {f"{name}_{key}": value for key, value in run["validation"].items()}
        found |= {f"{name}_accuracy_{one['shots']}_shot": one["accuracy"] for one in run["shots"]}
    return found


def numbers(counts: dict[str, Any]) -> dict[str, float]:
    """The numbers among nested counts, by dotted name."""
    flat = flatten(counts)
    return {name: float(value) for name, value in flat.items() if isinstance(value, int | float)}


def write_table(folder: Path) -> None:
    """The samples in the form that MLflow shows as a table."""
    rows = [json.loads(line) for line in (folder / SAMPLES).read_text(encoding="utf-8").splitlines()]
    models = list(rows[0]["answers"]) if rows else []
    table = {
        "columns": ["prompt", *models, "reference", "source"],
        "data": [
            [row["prompt"], *(row["answers"][name] for name in models), row["reference"], row["source"]]
            for row in rows
        ],
    }
    write_atomic(folder / TABLE, json.dumps(table, ensure_ascii=False))
