"""The funnel: what is left after each step of a preparation, and which rules took the rest."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from data_prep.dedup.lines import REASON
from data_prep.filters.rules import TOO_SLOW
from data_prep.parts import Part
from data_prep.planning import total


def funnel_step(step: str, documents: int, size: int, removed: Mapping[str, int]) -> dict[str, Any]:
    """What is left after a step, and how many documents each reason took away in it."""
    ordered = dict(sorted(removed.items(), key=lambda item: (-item[1], item[0])))
    return {"step": step, "documents": documents, "bytes": size, "removed": ordered}


def show_funnel(funnel: Sequence[Mapping[str, Any]], notify: Callable[[str], None]) -> None:
    """The funnel as a table on a terminal, as plain lines elsewhere."""
    if sys.stdout.isatty():
        notify(_table(funnel))
        return
    for row in funnel:
        removed = "; ".join(f"{count:,} {reason}" for reason, count in row["removed"].items())
        line = f"{row['step']:<22} {row['documents']:>10,} documents {row['bytes'] / 1e6:>10.2f} MB"
        notify(line + (f"   removed: {removed}" if removed else ""))


def _table(funnel: Sequence[Mapping[str, Any]]) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table("after", title="documents through the steps")
    table.add_column("documents", justify="right")
    table.add_column("MB", justify="right")
    table.add_column("removed in this step")
    for row in funnel:
        removed = "\n".join(f"{count:,} {reason}" for reason, count in row["removed"].items())
        table.add_row(row["step"], f"{row['documents']:,}", f"{row['bytes'] / 1e6:.2f}", removed)
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()


def deduplication_steps(
    before: dict[str, Any], kept: Sequence[Part], reasons: Iterable[str]
) -> list[dict[str, Any]]:
    """The steps that take away documents for these reasons, in this order, by the counts of the parts."""
    steps: list[dict[str, Any]] = []
    for reason in reasons:
        gone = total(part.counts["dropped"][reason] for part in kept)
        if reason == TOO_SLOW and not gone["documents"]:
            continue  # as nearly always
        left = {name: (steps or [before])[-1][name] - gone[name] for name in ("documents", "bytes")}
        name = f"without {reason}s" if reason != TOO_SLOW else "in time"
        if reason == REASON:  # the documents that stay are shorter too
            name = "without repeated lines"
            left["bytes"] = sum(split["bytes"] for part in kept for split in part.counts["splits"].values())
        removed = {reason: gone["documents"]} if gone["documents"] else {}
        steps.append(funnel_step(name, left["documents"], left["bytes"], removed))
    return steps


def funnel_lines(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """The funnel of a receipt, for people: how much each step left, and its share of the first."""
    if not steps:
        return []
    first = max(1, steps[0]["documents"])
    return ["what was left"] + [
        f"  {step['step']:<26} {step['documents']:>12,} {step['documents'] / first:>8.2%} "
        f"{step['bytes'] / 1e6:>14,.2f} MB"
        for step in steps
    ]
