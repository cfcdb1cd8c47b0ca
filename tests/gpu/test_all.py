"""How pieces are planned, watched and kept, with workers that only say that they work."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gpu import all as every
from tests.gpu.table import table

FIGURES = {
    **{"ms": 10.0, "lowest": 9.0, "highest": 12.0, "tokens_per_second": 1000.0, "tflops": 400.0, "mfu": 0.5},
    **{"gib": float("nan"), "parameters": 125e6, "samples": 16, "peak": "1 x a GPU"},
}  # fmt: skip


class Clock:
    """Time that passes where a worker says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def worker_of(clock: Clock, takes: dict[str, float], dies_at: str = "") -> type:
    """A kind of worker whose pieces take so many seconds; one of them may end its process."""

    class Fake:
        started: list[list[str]] = []  # noqa: RUF012

        def __init__(self, names: list[str], out: Path, tiny: bool) -> None:
            self.names, self.lives, self.is_new = list(names), True, True
            self.started.append(list(names))

        def next(self, limit: float) -> dict[str, Any] | None:
            name = self.names.pop(0)
            clock.now += min(limit, takes[name])
            self.is_new = False
            if name == dies_at:
                self.lives = False
                return None
            return {"found": {"of": name}} if takes[name] <= limit else None

        def end(self) -> None:
            self.lives = False

    return Fake


def run(monkeypatch: pytest.MonkeyPatch, minutes: float, takes: dict[str, float], dies_at: str = "") -> Any:
    clock = Clock()
    fake = worker_of(clock, takes, dies_at)
    monkeypatch.setattr(every, "Worker", fake)
    monkeypatch.setattr(every.time, "monotonic", clock.monotonic)
    planned = dict.fromkeys(takes, 30.0)
    return dict(every.work(list(takes), planned, 60 * minutes, Path(), tiny=True)), fake


def test_a_piece_that_takes_too_long_is_told_and_another_worker_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, worker = run(monkeypatch, 10, {"a": 5, "b": 500, "c": 5})
    assert kept["a"]["found"] == {"of": "a"}
    assert kept["b"]["reason"] == "not done in 30 s"
    assert kept["c"]["found"] == {"of": "c"}
    assert worker.started == [["a", "b", "c"], ["c"]]


def test_a_worker_that_dies_costs_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, worker = run(monkeypatch, 10, {"a": 5, "b": 5, "c": 5}, dies_at="b")
    assert kept["b"]["reason"] == "its process ended"
    assert "found" in kept["c"]
    assert worker.started == [["a", "b", "c"], ["c"]]


def test_it_ends_in_time_and_says_nothing_of_what_was_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, _ = run(monkeypatch, 0.5, {"a": 20, "b": 20, "c": 20})
    assert list(kept) == ["a"]


def test_lines_of_earlier_calls_are_read_and_cut_ones_are_not(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    lines = [{"name": "a", "seconds": 1, "reason": "x"}, {"name": "a", "seconds": 2, "found": {}}]
    results.write_text("\n".join(map(json.dumps, lines)) + '\n{"name": "b", "fou')
    assert every.read(results) == {"a": lines[1]}


def test_the_table_has_shares_of_peak_and_ceiling() -> None:
    kept = {
        "tests": {"found": {"status": 0, "passed": 9}},
        "ceiling": {"found": {"m": 800.0}},
        "m | ours": {"found": FIGURES},
        "n | ours": {"reason": "does not fit into memory"},
    }
    text = table(kept, "a GPU")
    row = "| m, ours | 125.0 M | 16 | 10.0 (9.0 to 12.0) | 1,000 | 400.00 | 50.0 % | 50.0 % | - |"
    assert row in text.splitlines()
    assert "- n | ours: does not fit into memory" in text
    assert "GPU tests: 9 passed" in text
