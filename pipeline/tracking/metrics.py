"""`metrics.jsonl`: one JSON object a line, the truth about a run that MLflow gets a copy of.

    {"step": 12, "time": 1719000000.0, "loss": 5.31, "learning_rate": 0.0003}

`step` counts optimizer steps that are done, `time` is seconds since the epoch. A value that is not finite is
written as null, since JSON has no NaN. A step may have several lines (its validation comes later).
"""

import errno
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.contract.receipt import write_atomic

METRICS = "metrics.jsonl"
TAIL_BYTES = 65536
"""More than a line has."""
Line = dict[str, Any]


def append(path: Path, step: int, metrics: dict[str, float]) -> None:
    """Add a line; it outlives this process as soon as this returns."""
    write_line(path, make_line(step, metrics))


def make_line(step: int, metrics: dict[str, float]) -> Line:
    """The line of a step that was done now."""
    values = {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}
    return {"step": step, "time": round(time.time(), 3), **values}


def write_line(path: Path, line: Line) -> None:
    """Add a line whole or not at all, even where the disk is full; raises `OSError` then."""
    data = json.dumps(line).encode() + b"\n"
    with path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            if file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            file.truncate(size)
            raise


def read(path: Path) -> list[Line]:
    """Every whole line; a last line that a killed process left torn is not one. Empty without a file."""
    return [line for line, _ in read_from(path, 0)]


def read_from(path: Path, offset: int) -> Iterator[tuple[Line, int]]:
    """The whole lines from byte `offset` on, each with the offset of the next."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(max(0, offset - 1))
        if offset and file.read(1) != b"\n":
            return  # another file by now, and the next reading begins at its head
        for raw in file:
            if not raw.endswith(b"\n"):
                return
            offset += len(raw)
            line = understood(raw)
            if line is not None:
                yield line, offset


def understood(raw: bytes) -> Line | None:
    """A line; None where it is none of ours, as after a power cut or on a disk that lost a bit."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not all(map(_is_number, line.values())):
        return None
    return line if type(line.get("step")) is int and line["step"] >= 0 else None


def _is_number(value: Any) -> bool:
    """Whether a value is one that is written: a finite number, or null."""
    return value is None or (type(value) in (int, float) and abs(value) < math.inf)


def newest_step(path: Path) -> int:
    """Step of the last whole line, read from the file's end; 0 where there is none."""
    if not path.is_file():
        return 0
    size = path.stat().st_size
    with path.open("rb") as file:
        for start in (max(0, size - TAIL_BYTES), 0):  # the whole of it where the end is damaged
            file.seek(start)
            found = map(understood, reversed(file.read().split(b"\n")[:-1]))
            if step := next((int(line["step"]) for line in found if line is not None), 0):
                return step
    return 0


def drop_after(path: Path, step: int) -> None:
    """Take away the lines of steps after `step`, and a torn last line, all at once or not at all."""
    if not path.is_file():
        return
    kept = "".join(json.dumps(line) + "\n" for line in read(path) if line["step"] <= step)
    if len(kept) < path.stat().st_size:
        write_atomic(path, kept)


def series(lines: list[Line], name: str) -> tuple[list[int], list[float]]:
    """Steps and finite values of one metric; a step that was logged twice counts with its last value."""
    values = {line["step"]: line[name] for line in lines if line.get(name) is not None}
    return sorted(values), [values[step] for step in sorted(values)]
