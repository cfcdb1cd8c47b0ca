"""What MLflow is told of finished stages and of a whole work folder.

One parent run a work folder, its stages nested in it. The parent's description and metrics say what came out,
so that a list of runs is worth looking at; the report and its plots are the parent's artifacts.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from data_prep.contract.dataset import TOKENIZER, Manifest
from data_prep.contract.receipt import RECEIPT, Receipt, fingerprint, write_atomic
from data_prep.contract.report import Bars
from data_prep.contract.settings import InputError
from pipeline.config import TrackingConfig
from pipeline.reports.describe import (
    charts,
    describe_export,
    describe_model,
    describe_models,
    description,
    funnel_figures,
    numbers,
    parameters,
    read_manifest,
    results,
)
from pipeline.reports.findings import Findings, StageView
from pipeline.reports.report import PLOTS, REPORT
from pipeline.tracking.mlflow_sender import MLflowSender, one_line, parent_record
from pipeline.tracking.models import ModelDescription
from pipeline.tracking.record import STAGE_RECORD, Record, RecordBusy, read_state, sole_sender
from pipeline.tracking.tracker import Tracker, describe_dataset


def track_stage(
    stage: StageView,
    findings: Findings,
    settings: TrackingConfig,
    artifacts: Sequence[str] = (),
    tables: Sequence[str] = (),
    notify: Callable[[str], None] = print,
) -> None:
    """Tell MLflow of a finished stage that logs no steps, with files of its folder and tables among them.

    Telling it again is harmless; a stage of which MLflow knows everything is left alone.
    """
    receipt, work = stage.receipt, findings.work
    assert receipt is not None, stage.name
    known = read_state(stage.folder / STAGE_RECORD)
    if known is not None and known.subject == receipt.fingerprint and known.run_id and not known.messages:
        return
    tracker = Tracker(
        stage.folder,
        work,
        stage.name,
        receipt.config,
        settings,
        notify,
        identity=receipt.fingerprint,
        started=receipt.finished - receipt.seconds,
    )
    tracker.start_from(0)
    dataset = findings.dataset()
    if dataset is not None:
        context = "output" if dataset == stage.folder else "validation"
        tracker.dataset(read_manifest(dataset), dataset, context)
    values = {"seconds": receipt.seconds, **numbers(receipt.counts)}
    tracker.values(values | funnel_figures(receipt.counts.get("funnel", [])), receipt.finished)
    shown = [{"path": name, "type": "table"} for name in tables if (stage.folder / name).is_file()]
    if shown:
        tracker.tags({"mlflow.loggedArtifacts": json.dumps(shown)})
    drawn = [name for chart in charts(stage) if (name := draw(stage.folder, chart, notify))]
    for name in (RECEIPT, *artifacts, *drawn):
        if (stage.folder / name).is_file():
            tracker.artifact(stage.folder / name)
    if tracker.close("FINISHED") and dataset == stage.folder and (dataset / TOKENIZER).is_file():
        track_tokenizer(dataset, work, receipt, settings, notify)


def draw(folder: Path, chart: Bars, notify: Callable[[str], None]) -> str | None:
    """A chart as an image in a stage's folder; nodes that only prepare data may lack what draws it."""
    try:
        from pipeline.reports.plots import bars, png
    except ImportError as error:
        notify(f"no picture of {chart.name}: {error}")
        return None
    write_atomic(folder / f"{chart.name}.png", png(bars(chart)))
    return f"{chart.name}.png"


def track_tokenizer(
    folder: Path, work: Path, receipt: Receipt, settings: TrackingConfig, notify: Callable[[str], None]
) -> None:
    """Tell MLflow of the tokenizer that preparation trained, as a run of its own."""
    manifest, counts = read_manifest(folder), receipt.counts
    tracker = Tracker(
        folder / "tokenizer",
        work,
        "tokenizer",
        receipt.config.get("tokenizer", {}),
        settings,
        notify,
        identity=manifest.tokenizer_sha256,
        started=receipt.finished - receipt.seconds,
    )
    tracker.start_from(0)
    train = manifest.splits["train"]
    values = {"pieces": float(manifest.vocabulary_size)}
    if isinstance(manifest, Manifest) and train.total("tokens"):
        values["bytes_per_token"] = train.total("text_bytes") / train.total("tokens")
    if (seconds := counts.get("seconds_by_step", {}).get("tokenizer")) is not None:
        values["seconds"] = seconds
    tracker.values(values, receipt.finished)
    tracker.artifact(folder / TOKENIZER)
    tracker.close("FINISHED")


def publish(findings: Findings, settings: TrackingConfig, notify: Callable[[str], None] = print) -> None:
    """Tell MLflow what came out of a work folder: headline figures, models, the report and its plots.

    A work folder of which MLflow knows everything is left alone.
    """
    work, parent = findings.work, parent_record(findings.work, settings.experiment)
    receipts = [receipt for _, receipt in findings.finished]
    made_of = fingerprint([(receipt.fingerprint, receipt.finished) for receipt in receipts])
    trained = [
        (stage, Record(stage.folder / STAGE_RECORD, stage.name))
        for stage in findings.trained
        if stage.receipt
    ]
    records = [*(record for _, record in trained), parent]
    if parent.state.subject == made_of and not any(record.state.messages for record in records):
        return
    parent.change(subject=made_of)
    finished = max((receipt.finished for receipt in receipts), default=0.0)
    for stage, record in trained:
        for model in describe_models(findings, stage):
            record.post("model", model.model_dump(mode="json"), finished)
    describe_work(parent, findings, finished)
    for record in records:
        sender = MLflowSender(record.path.parent, work, record, settings.enabled, notify, work)
        if not sender.close(wait=30.0):
            break


def model_of(findings: Findings, name: str) -> ModelDescription:
    """The model that the stage `name` ended with. `InputError` where it has not ended."""
    stage = next((one for one in findings.stages if one.name == name), None)
    model = describe_model(findings, stage) if stage else None
    if model is None:
        raise InputError(
            f"{findings.work / name}: no finished training with a checkpoint and its dataset beside it; "
            "nothing can be registered"
        )
    return model


def register(
    findings: Findings,
    name: str,
    folder: Path,
    registered: str,
    settings: TrackingConfig,
    notify: Callable[[str], None] = print,
) -> None:
    """Make what was exported into `folder` of the stage `name` a version of the model `registered`.

    Its small files are copied to MLflow, its weights stay where they are, its figures are the model's. Raises
    `InputError` where the stage has not ended, or MLflow takes no such name.
    """
    model = describe_export(model_of(findings, name), folder, registered)
    record = Record(findings.work / name / STAGE_RECORD, name, settings.experiment)
    record.post("model", model.model_dump(mode="json"), time.time())
    MLflowSender(record.path.parent, findings.work, record, settings.enabled, notify, findings.work).close(
        wait=30.0
    )


def describe_work(parent: Record, findings: Findings, finished: float) -> None:
    """Post what the parent run shows."""
    work, dataset = findings.work, findings.dataset()
    parent.post("tags", {"mlflow.note.content": description(findings), "bloomery.work": str(work.resolve())})
    if found := parameters(findings):
        parent.post("parameters", found)
    parent.post("values", results(findings), finished)
    if dataset is not None:
        parent.post("dataset", describe_dataset(read_manifest(dataset), dataset, "training"))
    for name, to in ((REPORT, ""), (PLOTS, PLOTS)):
        if (work / name).exists():
            parent.post("artifact", {"path": str((work / name).resolve()), "to": to})
    parent.post("status", {"status": "FINISHED"}, finished)


def sync(folder: Path, notify: Callable[[str], None] = print) -> int:
    """Send what MLflow does not have of a run, or of every run of a work folder; returns the steps sent.

    Raises `InputError` where nothing was tracked, where the server does not answer, and where the run is
    being written by a process that sends by itself.
    """
    folders = [folder, *sorted(folder.glob("*/")), *sorted(folder.glob("*/*/"))]
    found = [path for path in folders if (path / STAGE_RECORD).is_file()]
    work = folder if not (folder / STAGE_RECORD).is_file() else folder.resolve().parent
    records = [Record(path / STAGE_RECORD, path.name) for path in found]
    if not records:
        raise InputError(f"{folder}: no run was tracked here; give a run folder or a work folder")
    steps = 0
    for record in [*records, parent_record(work, records[0].state.experiment)]:
        sender = MLflowSender(record.path.parent, work, record, True, notify)
        try:
            with sole_sender(record.path):
                steps += sender.send()
        except RecordBusy:
            raise InputError(
                f"{record.path.parent}: another process is sending this run at the moment; it sends all "
                "there is, or try again when it has ended"
            ) from None
        except Exception as error:  # MLflow raises what its backends raise
            raise InputError(
                f"{record.path.parent}: MLflow at {sender.shown} cannot be used ({one_line(error)}); "
                "start it or set MLFLOW_TRACKING_URI, then sync again"
            ) from error
    return steps
