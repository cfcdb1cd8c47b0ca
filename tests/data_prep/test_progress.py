"""Progress by a clock that the test turns."""

import io
from collections.abc import Iterator

import pytest

from data_prep.progress import Amount, Progress, as_counts


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def progress(now: list[float]) -> Iterator[tuple[Progress, list[str]]]:
    lines: list[str] = []
    with Progress(lines.append, lambda: now[0]) as progress:
        progress.begin("start", 0)
        now[0] += 3
        progress.end()
        progress.begin("collect", 10, done=7)
        for _ in range(3):
            now[0] += 4
            progress.part(Amount(100, 2_000_000, 90))
        now[0] += 1
        progress.end()
        progress.begin("collect", 2)  # the second wave
        now[0] += 7
        progress.part(Amount(100, 2_000_000, 30))
        progress.end()
        progress.begin("edges", 5, done=5)
        progress.end()
        yield progress, lines


def test_lines_of_a_log(progress: tuple[Progress, list[str]]) -> None:
    assert progress[1] == [
        "collect: 9 of 10 parts in 8.0 s, 25 documents/s, 0.5 MB/s, 90.0% kept",
        "collect: 10 of 10 parts in 13.0 s, 23 documents/s, 0.5 MB/s, 90.0% kept",
        "collect: 11 of 12 parts in 20.0 s, 20 documents/s, 0.4 MB/s, 75.0% kept",
    ]


def test_figures_of_the_receipt_are_those_of_this_run(progress: tuple[Progress, list[str]]) -> None:
    counts = as_counts(progress[0], 230)
    assert counts["seconds_by_step"] == {"start": 3, "collect": 20, "edges": 0}
    assert counts["documents_per_second"] == 10
    assert counts["steps"] == {
        "collect": {
            "parts": 4,
            "seconds": 20,
            "documents": 400,
            "bytes": 8_000_000,
            "documents_per_second": 20,
            "megabytes_per_second": 0.4,
            "kept_share": 0.75,
        }
    }


def test_the_table_of_a_terminal(progress: tuple[Progress, list[str]]) -> None:
    from rich.console import Console

    screen = io.StringIO()
    Console(file=screen, width=100).print(progress[0].table())
    rows = [line.split() for line in screen.getvalue().splitlines()]
    assert rows[0] == ["step", "parts", "seconds", "documents/s", "MB/s", "kept"]
    assert rows[1] == ["start", "3.0"]
    assert rows[2][-5:] == ["11/12", "20.0", "20", "0.4", "75.0%"]
    assert rows[3][-2:] == ["5/5", "0.0"]
