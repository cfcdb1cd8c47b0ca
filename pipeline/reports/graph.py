"""The stages of a work folder as a graph: what each reads, how it stands, and where it goes in a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_prep.contract.report import Table
from pipeline.reports.findings import GRAPH, Findings, graph


@dataclass(frozen=True)
class Node:
    """A stage in the picture."""

    name: str
    kind: str
    needs: tuple[str, ...]
    state: str
    """done, begun or not begun."""
    seconds: float | None = None
    """What it took, where it has ended."""


def nodes(findings: Findings) -> list[Node]:
    """The stages of a work folder in order, those that have not begun too where its recipe names stages."""
    begun = {stage.name: stage for stage in findings.stages}
    named = graph(findings.work) if (findings.work / GRAPH).is_file() else {}
    found = [
        Node(name, about["kind"], tuple(about["needs"]), "not begun")
        for name, about in named.items()
        if name not in begun
    ]
    for stage in findings.stages:
        state, seconds = ("done", stage.receipt.seconds) if stage.receipt else ("begun", None)
        needs = tuple(name for name in stage.needs if named or name in begun)
        found.append(Node(stage.name, stage.kind, needs, state, seconds))
    order = {name: place for place, name in enumerate([*named, *begun])}
    return sorted(found, key=lambda node: order[node.name])


def layout(needs: Mapping[str, Sequence[str]]) -> dict[str, tuple[int, float]]:
    """Column and row of each stage: one column further than all that it reads, columns centred.

    >>> layout({"data": [], "base": ["data"], "chat": ["base", "data"], "other": ["data"]})
    {'data': (0, 0.5), 'base': (1, 0.0), 'other': (1, 1.0), 'chat': (2, 0.5)}
    """
    depth: dict[str, int] = {}
    for name, reads in needs.items():  # a stage comes after those that it reads
        depth[name] = max((depth[one] + 1 for one in reads if one in depth), default=0)
    columns: dict[int, list[str]] = {}
    for name, column in depth.items():
        columns.setdefault(column, []).append(name)
    most = max(map(len, columns.values()), default=0)
    return {
        name: (column, row + (most - len(columns[column])) / 2)
        for column in sorted(columns)
        for row, name in enumerate(columns[column])
    }


def table(stages: Sequence[Node]) -> Table:
    """The same in words."""
    rows = [
        [
            node.name,
            node.kind,
            ", ".join(node.needs),
            node.state,
            "" if node.seconds is None else duration(node.seconds),
        ]
        for node in stages
    ]
    return Table(["stage", "kind", "reads", "state", "took"], rows, frozenset({4}))


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    >>> [duration(one) for one in (7.3, 400, 9000)]
    ['7.3 s', '6.7 min', '2.5 h']
    """
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
