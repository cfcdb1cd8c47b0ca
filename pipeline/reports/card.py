"""The card of a model: what it is, what it learned from, what it can do, and the commands to use it.

Made of the parts of a report, so that the report and MLflow show the same; `markdown` writes them for MLflow.
"""

import re
import shlex
from collections.abc import Iterable
from html import escape
from typing import Any

from data_prep.contract.names import printable
from data_prep.contract.report import Cell, Code, Curves, Part, Table, Text, short
from pipeline.reports.findings import Findings, StageView, last_checkpoint

GAP = " &nbsp; | "
"""Between the cells of a table, which MLflow draws without any."""


def card(findings: Findings, stage: StageView) -> list[Part]:
    """The parts of the card of what a finished training made; none where there is no checkpoint."""
    checkpoint = last_checkpoint(stage.folder.resolve())
    if checkpoint is None or stage.receipt is None:
        return []
    rows: list[list[Cell]] = [[name, value] for name, value in facts(findings, stage) if value]
    rows.append(["checkpoint", Code(str(checkpoint))])
    place = shlex.quote(str(stage.folder.resolve()))
    commands = [re.sub(r"\bRUN\b", lambda _: place, command) for command in stage.report.commands]
    return [Table(["", ""], rows), *([Code("\n".join(commands))] if commands else [])]


def facts(findings: Findings, stage: StageView) -> list[tuple[str, str]]:
    """Name and words of each line of a card; what is not known is empty."""
    assert stage.receipt is not None
    config, counts = stage.receipt.config, stage.receipt.counts
    return [
        (
            "architecture",
            tower(config["vision"])
            if config.get("vision")
            else architecture(config.get("model", {}), config.get("data", {})),
        ),
        ("parameters", short(counts["parameters"]) if "parameters" in counts else ""),
        ("objective", next(iter(words_of(stage)), "")),
        ("trained on", trained_on(counts, "images" if config.get("vision") else "tokens")),
        ("made from", ", ".join(stage.needs)),
        ("figures", figures(findings, stage)),
    ]


def architecture(model: dict[str, Any], data: dict[str, Any]) -> str:
    """A model's shape in words.

    >>> architecture({"architecture": "decoder", "layers": 4, "hidden_size": 192, "heads": 6}, {})
    'decoder, 4 layers, hidden size 192, 6 heads'
    """
    if not model:
        return ""
    words = [str(model.get("architecture", "decoder")).replace("_", "-")]
    named = {"layers": "{} layers", "hidden_size": "hidden size {}", "heads": "{} heads"}
    words += [form.format(model[name]) for name, form in named.items() if model.get(name)]
    if data.get("sequence_length"):
        words.append(f"{data['sequence_length']:,} tokens at once")
    return ", ".join(words)


def tower(vision: dict[str, Any]) -> str:
    """An image tower's shape in words.

    >>> tower({"layers": 4, "hidden_size": 64, "heads": 4, "patch_size": 8, "image_size": 64})
    'ViT, 4 layers, hidden size 64, 4 heads, patches of 8 in images of 64 pixels'
    """
    return (
        f"ViT, {vision['layers']} layers, hidden size {vision['hidden_size']}, {vision['heads']} heads, "
        f"patches of {vision['patch_size']} in images of {vision['image_size']} pixels"
    )


def words_of(stage: StageView) -> Iterable[str]:
    """What the stage's report says beside its curves."""
    for section in stage.report.sections:
        if any(isinstance(part, Curves) for part in section.parts):
            yield from (part.text for part in section.parts if isinstance(part, Text))


def trained_on(counts: dict[str, Any], unit: str) -> str:
    """How much a model has seen."""
    seen = [f"{counts['steps']:,} steps"] if "steps" in counts else []
    seen += [f"{short(counts['tokens'])} {unit}"] if "tokens" in counts else []
    return ", ".join(seen)


def figures(findings: Findings, stage: StageView) -> str:
    """What was measured of a model."""
    found = dict(findings.figures(stage.folder))
    loss = stage.last("validation_loss")
    if loss is not None:
        found = {"validation_loss": loss, **found}
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in found.items())


def markdown(parts: Iterable[Part]) -> str:
    """Tables, paragraphs and code as markdown; what is drawn is left out."""
    return "\n\n".join(filter(None, map(_markdown, parts)))


def _markdown(part: Part) -> str:
    if isinstance(part, Table) and part.rows:
        head, *rows = [f"| {GAP.join(map(cell, line))} |" for line in (part.head, *part.rows)]
        return "\n".join([head, f"|{' --- |' * len(part.head)}", *rows])
    if isinstance(part, Code):
        return "\n".join(["```", *printable(part.text).replace("```", "'''").split("\n"), "```"])
    return words(part.text) if isinstance(part, Text) else ""


def cell(content: Cell) -> str:
    """A table's cell: one line, in which nothing but our own words is markup."""
    if isinstance(content, Code):
        return f"`{words(content.text).replace('`', chr(39))}`"
    return words(content) if isinstance(content, str) else ""


def words(text: str) -> str:
    """Text in which nothing is markup.

    >>> words("a|b <c>")
    'a\\\\|b &lt;c&gt;'
    """
    line = " ".join(printable(text).split())
    return escape(line, quote=False).replace("|", r"\|")
