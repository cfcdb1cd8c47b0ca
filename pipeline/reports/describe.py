"""What MLflow shows of a work folder, worked out from its findings: words, figures, models, tables."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.contract.dataset import MANIFEST, Manifest
from data_prep.contract.receipt import Receipt, write_atomic
from pipeline.reports.findings import (
    SAMPLES,
    TRAINED,
    Findings,
    checkpoints,
    headlines,
    last_checkpoint,
    step_of,
)
from pipeline.reports.report import REPORT
from pipeline.tracking.metrics import series
from pipeline.tracking.models import ModelDescription
from pipeline.tracking.record import STAGE_RECORD
from pipeline.tracking.tracker import describe_dataset, flatten

TABLE = "prompts_and_answers.json"
FUNNEL = "funnel.png"
SMALL = 10_000_000
"""Bytes up to which a file of an exported model is copied to MLflow; weights stay where they are."""


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


def funnel_figures(funnel: list[dict[str, Any]]) -> dict[str, float]:
    """What each step of data preparation left and each rule took, by names that MLflow takes."""
    figures = {}
    for step in funnel:
        for name in ("documents", "bytes"):
            figures[f"funnel.{_plain(step['step'])}.{name}"] = float(step[name])
        figures |= {f"removed.{_plain(rule)}": float(count) for rule, count in step["removed"].items()}
    return figures


def _plain(words: str) -> str:
    """Words without what the name of a metric may not have."""
    return " ".join(re.sub(r"[^\w /.-]", "", words).split())


def describe_models(findings: Findings, stage: str) -> list[ModelDescription]:
    """The models of a stage that trained, one for each checkpoint that was kept; the last is the stage's."""
    last = describe_model(findings, stage)
    if last is None:
        return []
    earlier = [path for path in checkpoints(findings.work.resolve() / stage) if step_of(path) < last.step]
    validated = dict(zip(*series(findings.metrics.get(stage, []), "validation_loss"), strict=True))
    return [
        *(describe_checkpoint(last, path, validated.get(step_of(path))) for path in earlier),
        last,
    ]


def describe_checkpoint(
    last: ModelDescription, path: Path, validation_loss: float | None
) -> ModelDescription:
    """A checkpoint on the way to a stage's last one, with its validation loss where that was measured."""
    step = step_of(path)
    changes: dict[str, Any] = {
        "name": f"{last.name}-step-{step}",
        "registered": None,
        "fingerprint": f"{last.fingerprint}-{step}",
        "step": step,
        "checkpoint": str(path),
        "figures": {} if validation_loss is None else {"validation_loss": validation_loss},
        "base": "",
        "evaluation": None,
    }
    return last.model_copy(update=changes)


def describe_export(last: ModelDescription, folder: Path) -> ModelDescription:
    """What was exported of a stage's model: the same model and figures in another form."""
    small = [path for path in sorted(folder.iterdir()) if path.is_file() and path.stat().st_size < SMALL]
    changes = {
        "name": f"{last.name}-export",
        "fingerprint": f"{last.fingerprint}-export",
        "checkpoint": str(folder.resolve()),
        "files": [str(path.resolve()) for path in small],
    }
    return last.model_copy(update=changes)


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
        base=receipt.inputs.get("pretrained", ""),
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
    names = {key: key for key in ("perplexity", "bits_per_byte", "shuffled_loss", "target_loss")}
    names["accuracy"] = "hidden_token_accuracy"
    figures |= {name: validation[key] for key, name in names.items() if key in validation}
    return figures | {f"accuracy_{one['shots']}_shot": one["accuracy"] for one in shots}


def read_manifest(work: Path) -> Manifest:
    """The manifest of a work folder's dataset."""
    return Manifest.model_validate_json((work / "dataset" / MANIFEST).read_bytes())


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


def write_funnel(folder: Path, receipt: Receipt, notify: Callable[[str], None]) -> None:
    """Data preparation's funnel as an image; nodes that only prepare data may lack what draws it."""
    try:
        from pipeline.reports.plots import funnel, png
    except ImportError as error:
        notify(f"no picture of the funnel: {error}")
        return
    write_atomic(folder / FUNNEL, png(funnel(receipt.counts["funnel"])))
