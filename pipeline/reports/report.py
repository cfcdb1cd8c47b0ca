"""The report: one HTML file that needs nothing else, from whatever a work folder holds.

WORK/report.html
WORK/plots/*.png     the same figures as images
"""

import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import yaml

from data_prep.contract.receipt import write_atomic
from pipeline.config import ObjectiveConfig
from pipeline.objectives.registry import objective_of
from pipeline.reports.findings import (
    STAGES,
    TRAINED,
    Findings,
    collect,
    headlines,
    last_checkpoint,
    percent,
)
from pipeline.reports.page import document, table
from pipeline.tracking.server import how_to_look

REPORT, PLOTS = "report.html", "plots"
MIB = 1 << 20
MARKS = re.compile(r"(«.*?»|&lt;mask&gt;|&lt;extra_id_\d+&gt;)", re.DOTALL)
"""Blanks and what fills them, in text made HTML."""


def write_report(work: Path) -> Path:
    """Write the report of a work folder and its plots; returns the report's path."""
    from pipeline.reports.plots import figures, png, svg

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
            ("Pretraining", objective(findings) + training("pretrain", pictures)),
            ("Instruction tuning", training("tune", pictures)),
            ("Held-out text", validation(findings.results)),
            ("Multiple choice", choices(findings.results, pictures)),
            ("Blanks filled in", filled_in([one for one in findings.samples if one.get("blanks")])),
            ("Generations, side by side", generations([x for x in findings.samples if not x.get("blanks")])),
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


def objective(findings: Findings) -> str:
    """What the pretrained model learned to predict."""
    receipt = findings.receipts.get("pretrain")
    if receipt is None or "objective" not in receipt.config:
        return ""
    settings, model = receipt.config["objective"], receipt.config["model"]
    words = objective_of(ObjectiveConfig.model_validate(settings)).describe()
    return (
        f"<p>{escape(model['architecture'].replace('_', '-').capitalize())}, trained by {escape(words)}.</p>"
    )


COLUMNS = {
    "loss": ("loss (nats)", "{:.4f}"),
    "perplexity": ("perplexity", "{:,.2f}"),
    "bits_per_byte": ("bits per byte", "{:.4f}"),
    "accuracy": ("right", "{:.1%}"),
    "shuffled_loss": ("loss, words shuffled", "{:.4f}"),
    "target_loss": ("loss of whole targets", "{:.4f}"),
}
"""Title and form of each figure of held-out text; what is measured depends on the model's architecture."""


SHUFFLED = " A model whose loss is no worse with the words it reads shuffled makes nothing of their order."


def validation(results: dict[str, Any]) -> str:
    """Loss, perplexity and what else was measured of each model beside the unigram model's."""
    if not results:
        return ""
    about = results["validation"]
    models = {"unigram model": about["unigram"]}
    models |= {name: run["validation"] for name, run in results["runs"].items()}
    names = [name for name in COLUMNS if any(name in one for one in models.values())]
    rows = [
        [escape(name), *(COLUMNS[key][1].format(one[key]) if key in one else "" for key in names)]
        for name, one in models.items()
    ]
    head = ["model", *(COLUMNS[name][0] for name in names)]
    return table(head, rows, numbers=set(range(1, len(head)))) + (
        f"<p>Measured on {escape(about['about'])}. The unigram model is fitted on the train tokens with one "
        f"added to every count.{SHUFFLED if 'shuffled_loss' in names else ''}</p>"
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
    return side_by_side(samples, escape)


def filled_in(samples: list[dict[str, Any]]) -> str:
    """Each text with blanks with what every model put into them, and with its own words."""
    return side_by_side(samples, marked)


def side_by_side(samples: list[dict[str, Any]], show: Callable[[str], str]) -> str:
    """A row for each sample; `show` makes HTML of a text."""
    if not samples:
        return ""
    names = list(samples[0]["answers"])
    rows = [
        [f"<small>{escape(sample['source'])}</small><pre>{show(sample['prompt'])}</pre>"]
        + [f"<pre>{show(sample['answers'][name]) or '(nothing)'}</pre>" for name in names]
        + [f"<pre>{show(sample['reference'])}</pre>"]
        for sample in samples
    ]
    return table(["prompt", *map(escape, names), "reference"], rows, classes="samples")


def marked(text: str) -> str:
    """A text as HTML with its blanks and what fills them highlighted; a line break there is shown as ↵."""
    return MARKS.sub(lambda found: "<mark>" + found[0].replace("\n", "↵") + "</mark>", escape(text))


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
