"""The report: one HTML file that needs nothing else, from whatever a work folder holds.

WORK/report.html
WORK/plots/*.png     the same figures as images

What is said of a stage comes from its kind; this lays it out.
"""

from collections import Counter
from pathlib import Path

import yaml

from data_prep.contract.receipt import write_atomic
from data_prep.contract.report import Cell, Code, Curves, Section, Table
from pipeline.reports.card import card
from pipeline.reports.findings import Findings, StageView, headlines, last_checkpoint
from pipeline.reports.graph import nodes
from pipeline.reports.graph import table as stages_table
from pipeline.reports.page import document, figure, render, safe
from pipeline.tracking.server import how_to_look

REPORT, PLOTS = "report.html", "plots"
STAGES = "stages"
"""The picture of the stages."""
CURVES = ("loss", "metrics", "speed")
"""What is drawn of a training, in this order: NAME_loss and so on."""


def write_report(findings: Findings) -> Path:
    """Write the report of a work folder and its plots; returns the report's path."""
    from pipeline.reports.graph_plot import drawn as drawn_graph
    from pipeline.reports.plots import figures, png, svg

    shown, work = nodes(findings), findings.work
    drawn = ({STAGES: drawn_graph(shown)} if shown else {}) | figures(findings)
    (work / PLOTS).mkdir(parents=True, exist_ok=True)
    for name, picture in drawn.items():
        write_atomic(work / PLOTS / f"{name}.png", png(picture))
    pictures = {name: svg(name, picture) for name, picture in drawn.items()}
    write_atomic(work / REPORT, page(findings, pictures))
    return work / REPORT


def page(findings: Findings, pictures: dict[str, str]) -> str:
    """The whole page; `pictures` are <svg> elements by name."""
    shown = nodes(findings)
    told = [
        (section.front, title, body(section, stage, pictures)) for stage, section, title in titled(findings)
    ]
    parts = [
        *((title, words) for front, title, words in told if front),
        ("Stages", figure([STAGES], pictures) + render(stages_table(shown), pictures)),
        *((title, words) for front, title, words in told if not front),
        ("Models", "".join(model(findings, stage) for stage in findings.trained)),
        ("Where things are", render(places(findings), pictures)),
        ("What made it", render(versions(findings), pictures)),
        ("Resolved recipe", recipe(findings)),
    ]
    tiles = [(one.value, one.label, one.note) for one in headlines(findings)]
    return document(findings.name, tiles, parts)


def titled(findings: Findings) -> list[tuple[StageView, Section, str]]:
    """Every section with its title, which names the stage where several stages have the same."""
    found = [(stage, section) for stage in findings.stages for section in sections_of(stage)]
    counts = Counter(section.title for _, section in found)
    return [
        (stage, section, f"{section.title}: {stage.name}" if counts[section.title] > 1 else section.title)
        for stage, section in found
    ]


def model(findings: Findings, stage: StageView) -> str:
    """What a training made, and how to use it."""
    parts = "".join(render(part, {}) for part in card(findings, stage))
    return f"<h3>{safe(findings.label(stage.folder))}</h3>{parts}" if parts else ""


def sections_of(stage: StageView) -> list[Section]:
    """What a stage says; one that trains and has not ended has its curves."""
    if stage.receipt is None and stage.metrics:
        return [Section(stage.name.capitalize(), [Curves()])]
    return list(stage.report.sections)


def body(section: Section, stage: StageView, pictures: dict[str, str]) -> str:
    """The HTML of a section of a stage; empty where it has nothing to show."""
    return "".join(
        figure([f"{stage.name}_{what}" for what in CURVES], pictures)
        if isinstance(part, Curves)
        else render(part, pictures)
        for part in section.parts
    )


def versions(findings: Findings) -> Table:
    """Fingerprint and versions of each finished stage."""
    rows: list[list[Cell]] = [
        [
            stage.name,
            Code(receipt.fingerprint),
            ", ".join(f"{name} {version}" for name, version in receipt.versions.items()),
        ]
        for stage, receipt in findings.finished
    ]
    return Table(["stage", "fingerprint", "versions"], rows)


def places(findings: Findings) -> Table:
    """Paths, and how to open MLflow."""
    rows: list[list[Cell]] = [
        [stage.name, Code(str(stage.folder.resolve()))] for stage, _ in findings.finished
    ]
    for stage in findings.trained:
        found = last_checkpoint(stage.folder.resolve())
        if found is not None:
            rows.append([f"last checkpoint of {stage.name}", Code(str(found))])
    rows.append(["MLflow", Code(how_to_look(findings.work.resolve()))])
    return Table(["what", "where"], rows)


def recipe(findings: Findings) -> str:
    """The resolved configuration of every finished stage, to be unfolded."""
    configs = {stage.name: receipt.config for stage, receipt in findings.finished}
    if not configs:
        return ""
    text = yaml.safe_dump(configs, sort_keys=False, allow_unicode=True)
    shown = render(Code(text), {})
    return f"<details><summary>{len(text.splitlines())} lines</summary>{shown}</details>"
