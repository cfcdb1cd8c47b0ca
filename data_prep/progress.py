"""What a preparation tells people while it runs: documents/s, MB/s and the kept share of each step.

A table that is drawn again and again on a terminal, a plain line now and then in a log.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

SECONDS_BETWEEN_LINES = 5.0
START = "start"
"""The name under which the seconds that it takes to start Ray are counted: they are no step's own."""


@dataclass(frozen=True)
class Amount:
    """What one part looked at, and how much of it stays where the step decides that."""

    documents: int = 0
    bytes: int = 0
    kept: int | None = None
    """Documents that stay."""


@dataclass(frozen=True)
class Pace:
    """The parts of a step that have ended in this run."""

    step: str
    total: int
    """Parts that are wanted."""
    before: int = 0
    """Parts that an earlier run has done."""
    done: int = 0
    documents: int = 0
    bytes: int = 0
    kept: int | None = None
    seconds: float = 0.0

    def plus(self, amount: Amount, seconds: float) -> "Pace":
        """The pace after one more part, `seconds` after the first began."""
        kept = self.kept if amount.kept is None else (self.kept or 0) + amount.kept
        documents, size = self.documents + amount.documents, self.bytes + amount.bytes
        return replace(self, done=self.done + 1, documents=documents, bytes=size, kept=kept, seconds=seconds)

    @property
    def documents_per_second(self) -> float:
        return self.documents / max(self.seconds, 1e-9)

    @property
    def megabytes_per_second(self) -> float:
        return self.bytes / 1e6 / max(self.seconds, 1e-9)

    @property
    def kept_share(self) -> float | None:
        return None if self.kept is None else self.kept / max(self.documents, 1)

    def figures(self) -> dict[str, float | int]:
        """The same as plain values, for receipts and MLflow; shares and rates where there are documents."""
        found: dict[str, float | int] = {"parts": self.done, "seconds": round(self.seconds, 3)}
        if self.documents:
            found |= {
                "documents": self.documents,
                "bytes": self.bytes,
                "documents_per_second": round(self.documents_per_second, 1),
                "megabytes_per_second": round(self.megabytes_per_second, 3),
            }
            if self.kept_share is not None:
                found["kept_share"] = round(self.kept_share, 6)
        return found

    def line(self) -> str:
        """One line for a log."""
        words = [f"{self.step}: {self.before + self.done} of {self.total} parts in {self.seconds:.1f} s"]
        if self.documents:
            words += [
                f"{self.documents_per_second:,.0f} documents/s",
                f"{self.megabytes_per_second:.1f} MB/s",
            ]
        if self.documents and self.kept_share is not None:
            words.append(f"{self.kept_share:.1%} kept")
        return ", ".join(words)


class Progress:
    """Counts what the parts of each step had, and shows it: on a terminal while it is a context."""

    def __init__(self, notify: Callable[[str], None], clock: Callable[[], float] = time.perf_counter) -> None:
        self.notify, self.clock = notify, clock
        self.paces: dict[str, Pace] = {}
        self.seconds: dict[str, float] = {}
        self._started = self._told = clock()
        self._step = self._line = ""
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(get_renderable=self.table, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def begin(self, step: str, parts: int, done: int = 0) -> None:
        """A step begins, with so many parts, some of them done by an earlier run."""
        self._step, self._started = step, self.clock()
        self._told = self._started
        known = self.paces.get(step, Pace(step, 0))  # collect comes in waves
        self.paces[step] = replace(known, total=known.total + parts, before=known.before + done)

    def part(self, amount: Amount) -> None:
        """One part ended."""
        now = self.clock()
        passed = self.seconds.get(self._step, 0.0) + now - self._started
        self.paces[self._step] = self.paces[self._step].plus(amount, passed)
        if now - self._told > SECONDS_BETWEEN_LINES:
            self._told = now
            self._say()

    def end(self) -> None:
        """The step ended."""
        passed = self.clock() - self._started
        self.seconds[self._step] = self.seconds.get(self._step, 0.0) + passed
        pace = self.paces[self._step]
        self.paces[self._step] = replace(pace, seconds=self.seconds[self._step])
        if pace.done:
            self._say()
        self._step = ""

    def figures(self) -> dict[str, dict[str, float | int]]:
        """What this run did, by step."""
        return {step: pace.figures() for step, pace in self.paces.items() if pace.done}

    def _say(self) -> None:
        line = self.paces[self._step].line()
        if not self._live and line != self._line:
            self._line = line
            self.notify(line)

    def table(self) -> "Table":
        """The steps so far, for a terminal."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("step")
        for name in ("", "parts", "seconds", "documents/s", "MB/s", "kept"):
            table.add_column(name, justify="right")
        for step, pace in self.paces.items():
            running = step == self._step
            seconds = pace.seconds
            if running:
                seconds = self.seconds.get(step, 0.0) + self.clock() - self._started
            done = pace.before + pace.done
            bar = ProgressBar(total=max(pace.total, 1), completed=done, width=24, pulse=running and not done)
            count = f"{done:,}/{pace.total:,}" if pace.total else ""
            table.add_row(step, bar if pace.total else "", count, f"{seconds:.1f}", *_cells(pace))
        return table


def _cells(pace: Pace) -> tuple[str, str, str]:
    if not pace.documents:
        return "", "", ""
    kept = "" if pace.kept_share is None else f"{pace.kept_share:.1%}"
    return f"{pace.documents_per_second:,.0f}", f"{pace.megabytes_per_second:.1f}", kept


def as_counts(progress: Progress, documents: int) -> Mapping[str, Any]:
    """What the receipt says of it; `documents` is the number that was taken from the corpus."""
    total = sum(progress.seconds.values())
    return {
        "seconds_by_step": {step: round(value, 3) for step, value in progress.seconds.items()},
        "documents_per_second": round(documents / max(total, 1e-9), 1),
        "steps": progress.figures(),
    }
