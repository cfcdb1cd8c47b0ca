"""What a work folder holds, read for people: the headline figures, for the report and for MLflow.

Every part may be missing; what is not there yet is left out.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.contract.receipt import Receipt, read_receipt
from pipeline.tracking.metrics import METRICS, Line, read, series

RESULTS, SAMPLES = "results.json", "samples.jsonl"
"""What an evaluation leaves in its folder."""
STAGES = {"dataset": "prep", "pretrain": "pretrain", "tune": "tune", "eval": "eval"}
"""The folders of a work folder and the stages that write them."""
TRAINED = {"pretrain": "pretrained", "tune": "tuned"}
"""The stages that train, and what their models are called."""


@dataclass(frozen=True)
class Headline:
    """One figure with its name, and the smaller words that make it mean something."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Findings:
    """Everything the report shows of a work folder."""

    work: Path
    receipts: dict[str, Receipt]
    """Of the finished stages, by folder."""
    metrics: dict[str, list[Line]]
    """Of the stages that train, by folder."""
    results: dict[str, Any]
    """The evaluation's results.json."""
    samples: list[dict[str, Any]]
    """The evaluation's samples."""

    @property
    def name(self) -> str:
        """What the work folder is called."""
        return self.work.resolve().name

    @property
    def funnel(self) -> list[dict[str, Any]]:
        """Steps of data preparation with the documents and bytes that were left after each."""
        receipt = self.receipts.get("dataset")
        return list(receipt.counts.get("funnel", [])) if receipt else []

    @property
    def unigram(self) -> float | None:
        """The unigram model's loss on the validation tokens."""
        loss = self.results.get("validation", {}).get("unigram", {}).get("loss")
        return None if loss is None else float(loss)

    @property
    def unigram_in_training(self) -> float | None:
        """The unigram model's loss on all that training predicts: whole targets behind an encoder."""
        figures = self.results.get("validation", {}).get("unigram", {})
        return figures.get("target_loss", self.unigram)

    def last(self, stage: str, name: str) -> float | None:
        """The last finite value of a metric of a stage."""
        _, values = series(self.metrics.get(stage, []), name)
        return values[-1] if values else None


def collect(work: Path) -> Findings:
    """Read a work folder."""
    receipts = {folder: receipt for folder in STAGES if (receipt := read_receipt(work / folder)) is not None}
    metrics = {stage: lines for stage in TRAINED if (lines := read(work / stage / METRICS))}
    results, samples = work / "eval" / RESULTS, work / "eval" / SAMPLES
    return Findings(
        work=work,
        receipts=receipts,
        metrics=metrics,
        results=json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {},
        samples=[json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
        if samples.is_file()
        else [],
    )


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
    """The figures to put first, those that are known."""
    return [*_evaluation(findings), *_training(findings), *_data(findings)]


def _data(findings: Findings) -> list[Headline]:
    found = []
    if findings.funnel:
        first, last = findings.funnel[0]["documents"], findings.funnel[-1]["documents"]
        found.append(Headline("documents kept", f"{last:,}", f"of {first:,} ({percent(last, first)})"))
    receipt = findings.receipts.get("dataset")
    if receipt and "train_tokens" in receipt.counts:
        found.append(Headline("train tokens", short(receipt.counts["train_tokens"])))
    return found


def _training(findings: Findings) -> list[Headline]:
    found = []
    receipt = findings.receipts.get("pretrain")
    if receipt and "parameters" in receipt.counts:
        found.append(Headline("parameters", short(receipt.counts["parameters"])))
    _, speeds = series(findings.metrics.get("pretrain", []), "tokens_per_second")
    if speeds:
        found.append(Headline("tokens per second", short(sorted(speeds)[len(speeds) // 2]), "median step"))
    loss = findings.last("pretrain", "validation_loss")
    if loss is not None:
        steps = findings.metrics["pretrain"][-1]["step"]
        found.append(Headline("validation loss", f"{loss:.3f}", f"pretrained, {steps:,} steps"))
    return found


def _evaluation(findings: Findings) -> list[Headline]:
    found = []
    runs = findings.results.get("runs", {})
    if runs and findings.unigram is not None:
        name, run = next(iter(runs.items()))
        validation = run["validation"]
        note = f"{name}; a unigram model has {findings.unigram:.3f}"
        found.append(Headline("held-out loss", f"{validation['loss']:.3f}", note))
        perplexity = f"perplexity {validation['perplexity']:,.1f}"
        if "bits_per_byte" in validation:
            found.append(Headline("bits per byte", f"{validation['bits_per_byte']:.3f}", perplexity))
        else:
            found.append(Headline("hidden tokens right", f"{validation['accuracy']:.0%}", perplexity))
    best = max(
        ((one["accuracy"], name, one) for name, run in runs.items() for one in run["shots"]),
        key=lambda found: found[0],
        default=None,
    )
    if best is not None:
        accuracy, name, one = best
        chance = findings.results["task"]["chance"]
        note = f"{name}, {one['shots']}-shot, n = {one['n']}; chance {chance:.0%}"
        found.append(Headline(f"{findings.results['task']['name']}?".capitalize(), f"{accuracy:.0%}", note))
    return found


def percent(part: float, whole: float) -> str:
    """A share in percent."""
    return f"{part / whole:.1%}" if whole else "0 %"


def short(number: float) -> str:
    """A count in three digits: 1234567 is 1.23 M."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.3g}"
