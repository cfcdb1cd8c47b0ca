"""The part of a fine-tuning in the report: figures beside baselines, what is confused, what went wrong."""

from collections.abc import Callable, Mapping
from typing import Any

from data_prep.contract.report import Bar, Cell, Code, Headline, Line, Lines, Part, Section, Table, Text

MOST_CLASSES = 20


def headlines(name: str, results: Mapping[str, Any]) -> list[Headline]:
    """The main figure on the last split, with its interval and the best baseline's."""
    split, found = last(results)
    main = results["main"]
    if main not in (own := own_figures(found)):
        return []
    one = own[main]
    others = [
        f"{label} {about['figures'][main]['value']:.1%}"
        for label, about in found["baselines"].items()
        if main in about["figures"]
    ]
    note = "; ".join([f"{name}, {split}, 95 %: {one['low']:.1%} to {one['high']:.1%}", *others])
    return [Headline(title(main), f"{one['value']:.1%}", note)]


def last(results: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The split that says most: test rows where there are any."""
    name = list(results["splits"])[-1]
    return name, results["splits"][name]


def own_figures(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Figures of the stage's own seed."""
    figures: dict[str, dict[str, float]] = list(found["seeds"].values())[-1]
    return figures


def title(name: str) -> str:
    """A measure's name for people."""
    return name.replace("_", " ")


def sections(name: str, results: Mapping[str, Any]) -> list[Section]:
    """A section a split."""
    found = []
    for split, about in results["splits"].items():
        parts: list[Part] = [figures_table(about), Text(words(about))]
        for key, show in SHOWN.items():
            if key in about["details"]:
                parts += show(f"{name}_{split}_{key}", about["details"][key])
        parts += errors_table(about["errors"])
        found.append(Section(f"{name.capitalize()}: {results['task'].replace('_', ' ')}, {split}", parts))
    return found


def figures_table(found: Mapping[str, Any]) -> Table:
    """A row a measure: the model with its interval, the seeds' mean and spread, baselines."""
    own, baselines, several = own_figures(found), found["baselines"], len(found["seeds"]) > 1
    head = ["measure", "model", "95 % interval", *([f"{len(found['seeds'])} seeds"] if several else [])]
    for label in baselines:
        head += [label, f"better by ({label})"]
    rows: list[list[Cell]] = []
    for name, one in own.items():
        row: list[Cell] = [title(name), f"{one['value']:.4f}", f"{one['low']:.4f} to {one['high']:.4f}"]
        if several:
            spread = found["spread"][name]
            row.append(f"{spread['mean']:.4f} ± {spread['deviation']:.4f}, median {spread['median']:.4f}")
        for about in baselines.values():
            row += baseline_cells(about, name)
        rows.append(row)
    return Table(head, rows, frozenset(range(1, len(head))))


def baseline_cells(about: Mapping[str, Any], name: str) -> list[Cell]:
    """A baseline's figure, and by how much the model is better on the same rows drawn again."""
    if name not in about["figures"]:
        return ["", ""]
    by = about["better_by"][name]
    return [
        f"{about['figures'][name]['value']:.4f}",
        f"{by['value']:+.4f} ({by['low']:+.4f} to {by['high']:+.4f})",
    ]


def words(found: Mapping[str, Any]) -> str:
    """What the intervals are."""
    return (
        f"{found['rows']:,} rows. Intervals are those of rows drawn again; a model is better than a baseline "
        "where the interval of the difference leaves out 0."
    )


def confusion(name: str, found: Mapping[str, Any]) -> list[Part]:
    """Wanted labels by found ones."""
    del name
    labels = found["labels"]
    if len(labels) > MOST_CLASSES:
        return []
    rows: list[list[Cell]] = [
        [label, *map(str, counts)] for label, counts in zip(labels, found["rows"], strict=True)
    ]
    return [Table(["wanted, found as", *labels], rows, frozenset(range(1, len(labels) + 1)))]


def calibration(name: str, found: Mapping[str, Any]) -> list[Part]:
    """How often answers of a probability are right."""
    bins = found["bins"]
    points = Line("answers", [one["confidence"] for one in bins], [one["accuracy"] for one in bins])
    even = Line("as sure as right", [0.0, 1.0], [0.0, 1.0], style="line")
    table: list[list[Cell]] = [
        [f"{one['confidence']:.2f}", f"{one['accuracy']:.2f}", str(one["rows"]), Bar(one["accuracy"])]
        for one in bins
    ]
    return [
        Lines(name, "probability of the answer", "share that is right", [points, even]),
        Table(["probability", "right", "rows", ""], table, frozenset({0, 1, 2})),
        Text(f"Expected calibration error: {found['expected_error']:.3f}."),
    ]


def collapsed(name: str, label: str) -> list[Part]:
    """One label for everything."""
    del name
    return [Text(f"Every row is given one label, {label}: the training has collapsed; try other seeds.")]


def plain_table(name: str, found: Mapping[str, Any]) -> list[Part]:
    """A table as it is."""
    del name
    return [Table(found["head"], found["rows"], frozenset(range(1, len(found["head"]))))]


def said(name: str, text: str) -> list[Part]:
    """A sentence."""
    del name
    return [Text(text)]


SHOWN: dict[str, Callable[[str, Any], list[Part]]] = {
    "collapsed": collapsed,
    "confusion": confusion,
    "calibration": calibration,
    "table": plain_table,
    "said": said,
}
"""How each of a task's details is shown."""


def errors_table(errors: list[dict[str, str]]) -> list[Part]:
    """The rows that were answered worst."""
    if not errors:
        return []
    rows: list[list[Cell]] = [
        [Code(one["text"], one["where"]), Code(one["wanted"]), Code(one["said"])] for one in errors
    ]
    return [Table(["text", "wanted", "said"], rows, classes="samples")]
