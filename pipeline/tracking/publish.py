"""What MLflow is told of finished stages and of a whole work folder.

One parent run a work folder, its stages nested in it. The parent's description and metrics say what came out,
so that a list of runs is worth looking at; the report and its plots are the parent's artifacts.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.contract.dataset import MANIFEST, TOKENIZER, Manifest
from data_prep.contract.receipt import RECEIPT, Receipt, fingerprint, read_receipt, write_atomic
from data_prep.contract.settings import InputError
from pipeline.config import TrackingConfig
from pipeline.evaluation.evaluate import RESULTS, SAMPLES
from pipeline.evaluation.findings import (
    STAGES,
    TRAINED,
    Findings,
    collect,
    headlines,
    last_checkpoint,
    step_of,
)
from pipeline.evaluation.report import PLOTS, REPORT
from pipeline.tracking.models import ModelDescription
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
        if (model := describe_model(findings, stage)) is not None:
            record.post("model", model.model_dump(mode="json"), finished)
    describe_work(parent, findings, finished)
    for record in records:
        if not Courier(record.path.parent, work, record, settings.enabled, notify, work).close(wait=30.0):
            break


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


def describe_model(findings: Findings, stage: str) -> ModelDescription | None:
    """The model of a stage that trained, with its evaluation; None where there is no checkpoint of it."""
    work, receipt = findings.work.resolve(), findings.receipts[stage]
    checkpoint = last_checkpoint(work / stage)
    if checkpoint is None or not (work / "dataset" / MANIFEST).is_file():
        return None
    data = describe_dataset(read_manifest(work), work / "dataset", "validation")
    return ModelDescription(
        name=TRAINED[stage],
        registered="".join(letter if letter not in "/:'" else "-" for letter in findings.name),
        fingerprint=receipt.fingerprint,
        step=step_of(checkpoint),
        checkpoint=str(checkpoint),
        parameters=flatten(receipt.config.get("model", {})),
        figures=model_figures(findings, TRAINED[stage]),
        dataset_name=data["name"],
        dataset_digest=data["digest"],
        evaluation=str(work / "eval" / STAGE_RECORD),
        files=[str(work / stage / name) for name in ("config.yaml", "tokenizer.model")],
    )


def model_figures(findings: Findings, name: str) -> dict[str, float]:
    """What the evaluation found of a model, by names that are the same for every model."""
    run = findings.results.get("runs", {}).get(name)
    if run is None:
        return {}
    validation, shots = run["validation"], run["shots"]
    figures = {"held_out_loss": validation["loss"]}
    figures |= {key: validation[key] for key in ("perplexity", "bits_per_byte")}
    return figures | {f"accuracy_{one['shots']}_shot": one["accuracy"] for one in shots}


def read_manifest(work: Path) -> Manifest:
    """The manifest of a work folder's dataset."""
    return Manifest.model_validate_json((work / "dataset" / MANIFEST).read_bytes())


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
    """The figures that make the runs of an experiment comparable, by model and name."""
    unigram = {} if findings.unigram is None else {"unigram_loss": findings.unigram}
    return unigram | {
        f"{name}_{key}": value
        for name in findings.results.get("runs", {})
        for key, value in model_figures(findings, name).items()
    }


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
