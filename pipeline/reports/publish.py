"""What MLflow is told of finished stages and of a whole work folder.

One parent run a work folder, its stages nested in it. The parent's description and metrics say what came out,
so that a list of runs is worth looking at; the report and its plots are the parent's artifacts.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from data_prep.contract.dataset import MANIFEST, TOKENIZER
from data_prep.contract.receipt import RECEIPT, Receipt, fingerprint, read_receipt
from data_prep.contract.settings import InputError
from pipeline.config import TrackingConfig
from pipeline.reports.describe import (
    FUNNEL,
    TABLE,
    describe_export,
    describe_model,
    describe_models,
    description,
    funnel_figures,
    numbers,
    read_manifest,
    results,
    write_funnel,
    write_table,
)
from pipeline.reports.findings import (
    RESULTS,
    SAMPLES,
    STAGES,
    TRAINED,
    Findings,
    collect,
)
from pipeline.reports.report import PLOTS, REPORT
from pipeline.tracking.mlflow_sender import MLflowSender, one_line, parent_record
from pipeline.tracking.record import STAGE_RECORD, Record, RecordBusy, read_state, sole_sender
from pipeline.tracking.tracker import Tracker, describe_dataset


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
    values = {"seconds": receipt.seconds, **numbers(receipt.counts)}
    tracker.values(values | funnel_figures(receipt.counts.get("funnel", [])), receipt.finished)
    if (work / folder / SAMPLES).is_file():
        write_table(work / folder)
        tracker.tags({"mlflow.loggedArtifacts": json.dumps([{"path": TABLE, "type": "table"}])})
    if receipt.counts.get("funnel"):
        write_funnel(work / folder, receipt, notify)
    for name in (RECEIPT, RESULTS, SAMPLES, TABLE, FUNNEL):
        if (work / folder / name).is_file():
            tracker.artifact(work / folder / name)
    if tracker.close("FINISHED") and (work / folder / TOKENIZER).is_file():
        track_tokenizer(work, receipt, settings, notify)


def track_tokenizer(
    work: Path, receipt: Receipt, settings: TrackingConfig, notify: Callable[[str], None]
) -> None:
    """Tell MLflow of the tokenizer that preparation trained, as a run of its own."""
    folder, counts = work / "dataset", receipt.counts
    manifest = read_manifest(work)
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
    if train.total("tokens"):
        values["bytes_per_token"] = train.total("text_bytes") / train.total("tokens")
    if (seconds := counts.get("seconds_by_step", {}).get("tokenizer")) is not None:
        values["seconds"] = seconds
    tracker.values(values, receipt.finished)
    tracker.artifact(folder / TOKENIZER)
    tracker.close("FINISHED")


def publish(work: Path, settings: TrackingConfig, notify: Callable[[str], None] = print) -> None:
    """Tell MLflow what came out of a work folder: headline figures, models, the report and its plots.

    A work folder of which MLflow knows everything is left alone.
    """
    findings, parent = collect(work), parent_record(work, settings.experiment)
    receipts = list(findings.receipts.values())
    made_of = fingerprint([(receipt.fingerprint, receipt.finished) for receipt in receipts])
    trained = {
        stage: Record(work / stage / STAGE_RECORD, stage) for stage in TRAINED if stage in findings.receipts
    }
    records = [*trained.values(), parent]
    if parent.state.subject == made_of and not any(record.state.messages for record in records):
        return
    parent.change(subject=made_of)
    finished = max((receipt.finished for receipt in receipts), default=0.0)
    for stage, record in trained.items():
        for model in describe_models(findings, stage):
            record.post("model", model.model_dump(mode="json"), finished)
    describe_work(parent, findings, finished)
    for record in records:
        if not MLflowSender(record.path.parent, work, record, settings.enabled, notify, work).close(
            wait=30.0
        ):
            break


def register(
    folder: Path, work: Path, stage: str, settings: TrackingConfig, notify: Callable[[str], None] = print
) -> None:
    """Register what was exported into `folder` of the model that `stage` of a work folder ended with.

    Its small files are copied to MLflow, its weights stay where they are, its figures are the model's. Raises
    `InputError` where the stage has not ended.
    """
    findings = collect(work)
    model = describe_model(findings, stage) if stage in findings.receipts else None
    if model is None:
        raise InputError(f"{work / stage}: no finished training with a checkpoint; nothing can be registered")
    record = Record(work / stage / STAGE_RECORD, stage, settings.experiment)
    record.post("model", describe_export(model, folder).model_dump(mode="json"), time.time())
    MLflowSender(record.path.parent, work, record, settings.enabled, notify, work).close(wait=30.0)


def describe_work(parent: Record, findings: Findings, finished: float) -> None:
    """Post what the parent run shows."""
    work = findings.work
    parent.post("tags", {"mlflow.note.content": description(findings), "bloomery.work": str(work.resolve())})
    parent.post("values", results(findings), finished)
    if (work / "dataset" / MANIFEST).is_file():
        parent.post("dataset", describe_dataset(read_manifest(work), work / "dataset", "training"))
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
        courier = MLflowSender(record.path.parent, work, record, True, notify)
        try:
            with sole_sender(record.path):
                steps += courier.send()
        except RecordBusy:
            raise InputError(
                f"{record.path.parent}: another process is sending this run at the moment; it sends all "
                "there is, or try again when it has ended"
            ) from None
        except Exception as error:  # MLflow raises what its backends raise
            raise InputError(
                f"{record.path.parent}: MLflow at {courier.uri} cannot be used ({one_line(error)}); "
                "start it or set MLFLOW_TRACKING_URI, then sync again"
            ) from error
    return steps
