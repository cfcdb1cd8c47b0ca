"""metrics.jsonl: what a resume and a killed process leave of it."""

import json
import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.config import TrackingConfig
from pipeline.tracking import metrics
from pipeline.tracking.record import Record
from pipeline.tracking.tracker import Tracker


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


@pytest.mark.parametrize(
    "bad",
    [
        b"[" * 100_000,
        b'{"step": 1, "loss": "x"}',
        b'{"step": 1, "loss": NaN}',
        b'{"step": -1}',
        b'{"step": true}',
        b'{"step": 1e0}',
        b"\x00" * 200,
        b'{"step": ' + b"9" * 5_000 + b"}",
    ],
)
def test_a_line_that_is_none_of_ours_is_passed_over(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics.append(path, 3, {"loss": 2.0})
    path.write_bytes(bad + b"\n" + path.read_bytes() + bad + b"\n")
    assert [line["step"] for line in metrics.read(path)] == [3]
    assert metrics.newest_step(path) == 3


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


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics.append(path, 1, {"loss": 1.0})
    size = path.stat().st_size
    with room_for(size + 10), pytest.raises(OSError, match=r"too large|No space left"):
        metrics.append(path, 2, {"loss": 0.5})
    assert path.stat().st_size == size
    metrics.append(path, 2, {"loss": 0.5})
    assert [line["step"] for line in metrics.read(path)] == [1, 2]


def test_metrics_wait_until_there_is_room(tmp_path: Path) -> None:
    said: list[str] = []
    settings = TrackingConfig(enabled=False, system_every=0)
    run = Tracker(tmp_path / "pretrain", tmp_path, "pretrain", {}, settings, said.append)
    run.start_from(0)
    run.log(1, {"loss": 1.0})
    with room_for(run.path.stat().st_size + 10):
        for step in (2, 3):
            run.log(step, {"loss": 1 / step})
        run.tags({"kept": "in memory"})
    assert len(metrics.read(run.path)) == 1
    assert "the metrics wait" in said[0]
    run.log(4, {"loss": 0.25})
    run.close()
    lines = metrics.read(run.path)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert len([words for words in said if "the metrics wait" in words]) == 1
    kinds = [message.kind for message in Record(run.record.path, "pretrain").state.messages]
    assert kinds == ["parameters", "tags", "status"]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: writes fail as on a full disk, the last one after a part."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_series_has_the_finite_values_and_the_last_of_a_step() -> None:
    lines = [
        {"step": 2, "loss": 3.0},
        {"step": 1, "loss": 4.0},
        {"step": 2, "loss": 2.0},
        {"step": 3, "loss": None},
        {"step": 4, "other": 1.0},
    ]
    assert metrics.series(lines, "loss") == ([1, 2], [4.0, 2.0])
