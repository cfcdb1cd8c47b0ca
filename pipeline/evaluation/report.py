"""The report: one HTML file that needs nothing else, from whatever a work folder holds.

WORK/report.html
WORK/plots/*.png     the same figures as images
"""

from html import escape
from pathlib import Path
from typing import Any

import yaml

from data_prep.contract.receipt import write_atomic
from pipeline.evaluation.findings import (
    STAGES,
    TRAINED,
    Findings,
    collect,
    headlines,
    last_checkpoint,
    percent,
)
from pipeline.evaluation.page import document, table
from pipeline.tracking.server import how_to_look

REPORT, PLOTS = "report.html", "plots"
MIB = 1 << 20


def write_report(work: Path) -> Path:
    """Write the report of a work folder and its plots; returns the report's path."""
    from pipeline.evaluation.plots import figures, png, svg

    findings = collect(work)
    drawn = figures(findings)
    (work / PLOTS).mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        write_atomic(work / PLOTS / f"{name}.png", png(figure))
    write_atomic(work / REPORT, page(findings, {name: svg(name, figure) for name, figure in drawn.items()}))
    return work / REPORT


def page(findings: Findings, pictures: dict[str, str]) -> str:
    """The whole page; `pictures` are <svg> elements by name."""
    return document(
        findings.name,
        [(one.value, one.label, one.note) for one in headlines(findings)],
        [
            ("Documents", funnel(findings)),
            ("Pretraining", training("pretrain", pictures)),
            ("Instruction tuning", training("tune", pictures)),
            ("Held-out text", validation(findings.results)),
            ("Multiple choice", choices(findings.results, pictures)),
            ("Generations, side by side", generations(findings.samples)),
            ("Stages", stages(findings)),
            ("Where things are", places(findings)),
            ("Resolved recipe", recipe(findings)),
        ],
    )


def funnel(findings: Findings) -> str:
    """What was left after each step of data preparation, as bars."""
    steps = findings.funnel
    if not steps:
        return ""
    first = max(1, steps[0]["documents"])
    rows = [
        [
            escape(str(step["step"])),
            f'<div class="bar"><i style="width:{100 * step["documents"] / first:.1f}%"></i></div>',
            f"{step['documents']:,}",
            percent(step["documents"], first),
            f"{step.get('bytes', 0) / MIB:,.1f}",
            escape(", ".join(f"{reason} {count:,}" for reason, count in step.get("removed", {}).items())),
        ]
        for step in steps
    ]
    return table(["step", "", "documents", "share", "MiB", "removed here"], rows, numbers={2, 3, 4})


def training(stage: str, pictures: dict[str, str]) -> str:
    """Curves of a stage that trained."""
    shown = [pictures[name] for name in (f"{stage}_loss", f"{stage}_speed") if name in pictures]
    return "".join(f"<figure>{picture}</figure>" for picture in shown)


def validation(results: dict[str, Any]) -> str:
    """Loss, perplexity and bits per byte of each model beside the unigram model's."""
    if not results:
        return ""
    about = results["validation"]
    models = {"unigram model": about["unigram"]}
    models |= {name: run["validation"] for name, run in results["runs"].items()}
    rows = [
        [escape(name), f"{one['loss']:.4f}", f"{one['perplexity']:,.2f}", f"{one['bits_per_byte']:.4f}"]
        for name, one in models.items()
    ]
    part = "all windows" if about["whole_split"] else f"{about['windows']:,} windows, chosen by the seed,"
    return table(["model", "loss (nats)", "perplexity", "bits per byte"], rows, numbers={1, 2, 3}) + (
        f"<p>Measured on {part} of {about['documents']:,} validation documents: "
        f"{about['predicted_tokens']:,} predicted tokens without overlap. The unigram "
        "model is fitted on the train tokens with one added to every count.</p>"
    )


def choices(results: dict[str, Any], pictures: dict[str, str]) -> str:
    """The shot curve and its numbers."""
    if not any(run["shots"] for run in results.get("runs", {}).values()):
        return ""
    task = results["task"]
    rows = [
        [
            escape(name),
            str(one["shots"]),
            f"{one['accuracy']:.1%}",
            f"{one['low']:.1%} to {one['high']:.1%}",
            f"{one['right']} of {one['n']}",
            f"{one['accuracy_per_byte']:.1%}",
            str(one["examples_dropped"]),
        ]
        for name, run in results["runs"].items()
        for one in run["shots"]
    ]
    head = [
        "model",
        "examples",
        "accuracy",
        "95 % interval",
        "right",
        "by likelihood per byte",
        "examples left out",
    ]
    figure = f"<figure>{pictures['shots']}</figure>" if "shots" in pictures else ""
    return (
        f"<p>{escape(task['about'].capitalize())} {task['choices']} choices from held-out data; the answer "
        "is the choice whose likelihood the question raises most over a neutral one. Examples that do not "
        f"fit before a question are left out.</p>{figure}{table(head, rows, numbers={1, 2, 3, 4, 5, 6})}"
    )


def generations(samples: list[dict[str, Any]]) -> str:
    """Each prompt with what every model said."""
    if not samples:
        return ""
    names = list(samples[0]["answers"])
    rows = [
        [f"<small>{escape(sample['source'])}</small><pre>{escape(sample['prompt'])}</pre>"]
        + [f"<pre>{escape(sample['answers'][name]) or '(nothing)'}</pre>" for name in names]
        + [f"<pre>{escape(sample['reference'])}</pre>"]
        for sample in samples
    ]
    return table(["prompt", *map(escape, names), "reference"], rows, classes="samples")


def stages(findings: Findings) -> str:
    """Time and versions of each finished stage."""
    rows = [
        [
            escape(STAGES[folder]),
            f"{receipt.seconds:,.1f}",
            f"<code>{escape(receipt.fingerprint)}</code>",
            escape(", ".join(f"{name} {version}" for name, version in receipt.versions.items())),
        ]
        for folder, receipt in findings.receipts.items()
    ]
    return table(["stage", "seconds", "fingerprint", "versions"], rows, numbers={1}) if rows else ""


def places(findings: Findings) -> str:
    """Paths, and how to open MLflow."""
    work = findings.work.resolve()
    rows = [[STAGES[folder], f"<code>{escape(str(work / folder))}</code>"] for folder in findings.receipts]
    for stage in TRAINED:
        found = last_checkpoint(work / stage)
        if found is not None:
            rows.append([f"last checkpoint of {stage}", f"<code>{escape(str(found))}</code>"])
    rows.append(["MLflow", f"<code>{escape(how_to_look(work))}</code>"])
    return table(["what", "where"], rows)


def recipe(findings: Findings) -> str:
    """The resolved configuration of every finished stage."""
    configs = {STAGES[folder]: receipt.config for folder, receipt in findings.receipts.items()}
    if not configs:
        return ""
    text = yaml.safe_dump(configs, sort_keys=False, allow_unicode=True)
    lines = len(text.splitlines())
    return f"<details><summary>{lines} lines</summary><pre>{escape(text)}</pre></details>"
