"""What a preparation tells people while it runs and when it is done."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SECONDS_BETWEEN_LINES = 5.0


@dataclass
class Progress:
    """Counts the documents and bytes of a step's finished parts and says so now and then."""

    notify: Callable[[str], None]
    step: str = ""
    total: int = 0
    done: int = 0
    documents: int = 0
    bytes: int = 0
    started: float = field(default_factory=time.perf_counter)
    last: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)

    def begin(self, step: str, parts: int) -> None:
        self.step, self.total, self.done, self.documents, self.bytes = step, parts, 0, 0, 0
        self.started = self.last = time.perf_counter()

    def part(self, documents: int, size: int) -> None:
        """One part ended that had so many documents and bytes of text."""
        self.done += 1
        self.documents += documents
        self.bytes += size
        if time.perf_counter() - self.last > SECONDS_BETWEEN_LINES:
            self.last = time.perf_counter()
            self.notify(self._line())

    def end(self) -> None:
        self.seconds[self.step] = self.seconds.get(self.step, 0.0) + time.perf_counter() - self.started
        if self.done:
            self.notify(self._line())

    def _line(self) -> str:
        passed = max(time.perf_counter() - self.started, 1e-9)
        rates = f", {self.documents / passed:,.0f} documents/s, {self.bytes / 1e6 / passed:.1f} MB/s"
        parts = f"{self.step}: {self.done} of {self.total} parts in {passed:.1f} s"
        return parts + (rates if self.documents else "")


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
