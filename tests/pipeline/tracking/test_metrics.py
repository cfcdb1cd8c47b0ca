"""metrics.jsonl: what a resume and a killed process leave of it."""

import json
import math
from pathlib import Path

from pipeline.tracking import metrics


def test_lines_come_back_with_their_step_and_time(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert metrics.read(path) == []
    metrics.append(path, 1, {"loss": 2.5})
    metrics.append(path, 2, {"loss": math.nan, "gradient_norm": math.inf})
    first, second = metrics.read(path)
    assert first == {"step": 1, "time": first["time"], "loss": 2.5}
    assert abs(first["time"] - path.stat().st_mtime) < 5
    assert (second["loss"], second["gradient_norm"]) == (None, None)
    assert "NaN" not in path.read_text()


def test_a_resume_drops_later_steps_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics.drop_after(path, 3)
    assert not path.exists()
    for step in range(1, 6):
        metrics.append(path, step, {"loss": 1.0 / step})
        if step == 3:
            metrics.append(path, step, {"validation_loss": 0.3})
    with path.open("a") as file:
        file.write('{"step": 6, "lo')
    assert [line["step"] for line in metrics.read(path)] == [1, 2, 3, 3, 4, 5]
    metrics.drop_after(path, 3)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3, 3]
    untouched = path.stat()
    metrics.drop_after(path, 3)
    assert path.stat().st_ino == untouched.st_ino
    metrics.append(path, 4, {"loss": 0.25})
    assert [line["step"] for line in metrics.read(path)] == [1, 2, 3, 3, 4]


def test_reading_goes_on_from_an_offset_and_stops_at_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics.append(path, 1, {"loss": 1.0})
    ((_, offset),) = metrics.read_from(path, 0)
    assert list(metrics.read_from(path, offset)) == []
    with path.open("a") as file:
        file.write('{"step": 2')
    assert list(metrics.read_from(path, offset)) == []
    with path.open("a") as file:
        file.write(', "time": 0}\n')
    assert [line["step"] for line, _ in metrics.read_from(path, offset)] == [2]


def test_a_series_has_the_finite_values_and_the_last_of_a_step() -> None:
    lines = [
        {"step": 2, "loss": 3.0},
        {"step": 1, "loss": 4.0},
        {"step": 2, "loss": 2.0},
        {"step": 3, "loss": None},
        {"step": 4, "other": 1.0},
    ]
    assert metrics.series(lines, "loss") == ([1, 2], [4.0, 2.0])
