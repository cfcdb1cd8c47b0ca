"""What MLflow shows of a work folder, worked out from its findings: words, figures and models."""

import re
from pathlib import Path
from typing import Any

from data_prep.contract.dataset import MANIFEST, Manifest
from data_prep.contract.names import printable
from data_prep.contract.pictures import PictureManifest, holds_pictures
from data_prep.contract.report import Bars, Code
from pipeline.reports.card import GAP, card, markdown, words
from pipeline.reports.findings import (
    Findings,
    StageView,
    checkpoints,
    headlines,
    last_checkpoint,
    step_of,
)
from pipeline.reports.graph import nodes
from pipeline.reports.graph import table as stages_table
from pipeline.reports.report import PLOTS, REPORT, STAGES
from pipeline.tracking.messages import THIS_RUN
from pipeline.tracking.metrics import series
from pipeline.tracking.models import ModelDescription
from pipeline.tracking.record import STAGE_RECORD
from pipeline.tracking.tracker import describe_dataset, flatten

NOTE_LIMIT = 7500
"""Characters of a description; MLflow takes 8000 of a tag, and the id of the run is put in."""
CARD_LIMIT = 4000
"""Characters of a version's description; MLflow takes 5000."""
SMALL = 10_000_000
"""Bytes up to which a file of an exported model is copied to MLflow; weights stay where they are."""


def description(findings: Findings) -> str:
    """What MLflow shows above everything else, as markdown: figures, stages, curves and models.

    The first lines are seen before it is unfolded, so the headline figures come first.
    """
    lines = [
        f"| {words(one.label)}{GAP}**{words(one.value)}**{GAP}{words(one.note)} |"
        for one in headlines(findings)
    ]
    table = ["\n".join(["| | | |", "| --- | --- | --- |", *lines])] if lines else []
    place = findings.work.resolve()
    parts = [
        *table,
        "## Stages",
        picture(STAGES),
        markdown([stages_table(nodes(findings))]),
        *(part for stage in findings.stages if stage.metrics for part in _curve(stage)),
        *(part for stage in findings.trained for part in _model(findings, stage)),
        "## Where things are",
        markdown([Code(f"{place / REPORT}  (also among the artifacts)\n{place}")]),
    ]
    return clipped(parts, NOTE_LIMIT)


def picture(name: str) -> str:
    """A picture among the artifacts of the run whose page this stands on."""
    return f"![{name}](get-artifact?run_uuid={THIS_RUN}&path={PLOTS}/{name}.png)"


def _curve(stage: StageView) -> list[str]:
    return [f"## Loss of {words(stage.name)}", picture(f"{stage.name}_loss")]


def _model(findings: Findings, stage: StageView) -> list[str]:
    """A model's card under its name."""
    parts = card(findings, stage)
    return [f"## Model {words(findings.label(stage.folder))}", markdown(parts)] if parts else []


def clipped(parts: list[str], limit: int) -> str:
    """As many whole paragraphs as there is room for.

    >>> clipped(["one", "two", "three"], 9)
    'one\\n\\ntwo'
    """
    text = ""
    for part in parts:
        longer = f"{text}\n\n{part}" if text else part
        if len(longer) > limit:
            break
        text = longer
    return text


def results(findings: Findings) -> dict[str, float]:
    """The figures that make the runs of an experiment comparable, by model and name."""
    found: dict[str, float] = {}
    for stage in findings.stages:
        for levels in stage.report.levels.values():
            found |= {f"{_plain(name).removesuffix(' model')}_loss": value for name, value in levels.items()}
        for label, figures in stage.report.figures.items():
            found |= {f"{label}_{name}": value for name, value in figures.items()}
    return found


MODEL_KEYS = ("architecture", "layers", "hidden_size", "heads")
TRAIN_KEYS = ("steps", "global_batch", "learning_rate")


def parameters(findings: Findings) -> dict[str, Any]:
    """The few settings by which work folders are told apart, as STAGE.key; all of them are the stages'."""
    found: dict[str, Any] = {}
    for stage in findings.trained:
        config = stage.receipt.config if stage.receipt else {}
        for section, keys in (("model", MODEL_KEYS), ("objective", ("kind",)), ("train", TRAIN_KEYS)):
            values = config.get(section) or {}
            found |= {f"{stage.name}.{section}.{key}": values[key] for key in keys if values.get(key)}
    return found


def numbers(counts: dict[str, Any]) -> dict[str, float]:
    """The numbers among nested counts, by dotted names that MLflow takes."""
    flat = flatten(counts)
    return {_plain(name): float(value) for name, value in flat.items() if isinstance(value, int | float)}


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


def describe_models(findings: Findings, stage: StageView) -> list[ModelDescription]:
    """The models of a stage that trained, one for each checkpoint that was kept; the last is the stage's."""
    last = describe_model(findings, stage)
    if last is None:
        return []
    earlier = [path for path in checkpoints(stage.folder.resolve()) if step_of(path) < last.step]
    validated = dict(zip(*series(stage.metrics, "validation_loss"), strict=True))
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


def describe_export(last: ModelDescription, folder: Path, registered: str) -> ModelDescription:
    """What was exported of a stage's model, as a version of a registered model: the same figures."""
    small = [path for path in sorted(folder.iterdir()) if path.is_file() and path.stat().st_size < SMALL]
    changes = {
        "name": f"{last.name}-export",
        "registered": registered,
        "fingerprint": f"{last.fingerprint}-export",
        "checkpoint": str(folder.resolve()),
        "files": [str(path.resolve()) for path in small],
    }
    return last.model_copy(update=changes)


def describe_model(findings: Findings, stage: StageView) -> ModelDescription | None:
    """The model of a stage that trained, with its evaluation; None where there is no checkpoint of it."""
    run, receipt, dataset = stage.folder.resolve(), stage.receipt, findings.dataset()
    checkpoint = last_checkpoint(run)
    if checkpoint is None or receipt is None or dataset is None:
        return None
    data = describe_dataset(read_manifest(dataset), dataset, "validation")
    return ModelDescription(
        name=findings.label(run),
        registered="".join(letter if letter not in "/:'" else "-" for letter in printable(findings.name)),
        card=markdown(card(findings, stage))[:CARD_LIMIT],
        fingerprint=receipt.fingerprint,
        step=step_of(checkpoint),
        checkpoint=str(checkpoint),
        parameters=flatten(receipt.config.get("model", {})),
        figures=findings.figures(run),
        dataset_name=data["name"],
        dataset_digest=data["digest"],
        base=receipt.inputs.get("pretrained", ""),
        evaluation=evaluated_by(findings, run),
        files=[str(run / name) for name in ("config.yaml", "tokenizer.model")],
    )


def evaluated_by(findings: Findings, run: Path) -> str | None:
    """The record of the last stage that looked at a run's model; None where none did."""
    looked = [
        stage
        for stage in findings.stages
        if any(Path(place).resolve() == run for place in stage.report.places.values())
    ]
    return str(looked[-1].folder.resolve() / STAGE_RECORD) if looked else None


def read_manifest(dataset: Path) -> Manifest | PictureManifest:
    """The manifest of a dataset, of text or of pictures."""
    if holds_pictures(dataset):
        return PictureManifest.model_validate_json((dataset / MANIFEST).read_bytes())
    return Manifest.model_validate_json((dataset / MANIFEST).read_bytes())


def charts(stage: StageView) -> list[Bars]:
    """The charts of bars that a stage's report has."""
    parts = [part for section in stage.report.sections for part in section.parts]
    return [part for part in parts if isinstance(part, Bars)]
