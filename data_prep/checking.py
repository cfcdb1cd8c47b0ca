"""Finished parts of an earlier run, read once before this one goes on from them: disks change some.

Sizes are compared always; sums of what lies in a folder here only then, by tasks of their own, since bytes
that were changed in an array or a table are mostly still one. Object stores check themselves what they hold.
A damaged part loses its mark: it counts as not done and is made again.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data_prep.contract.reading import read_json
from data_prep.damage import sum_of
from data_prep.parts import Execute, Part, plan
from data_prep.storage import Storage

VERSION = 1
PARTS_PER_TASK = 64


def sound(
    execute: Execute, storage: Storage, done: Mapping[str, Part], notify: Callable[[str], None]
) -> dict[str, Part]:
    """Those of the finished parts whose files are what was written; each damaged file is told."""
    marks = [part.path("json") for part in done.values()]
    if storage.address or not marks:
        return dict(done)
    groups = [marks[first : first + PARTS_PER_TASK] for first in range(0, len(marks), PARTS_PER_TASK)]
    wanted = [plan(storage, "check", VERSION, {"marks": group}) for group in groups]
    for row in execute("check", check, wanted):
        for path in json.loads(row["counts"])["damaged"] if row["counts"] else ():
            notify(f"prep: {path}: damaged, made again")
    gone = {mark.stem for mark in marks if not mark.exists()}
    return {name: part for name, part in done.items() if name not in gone}


def check(output: Path, marks: list[Path]) -> dict[str, Any]:
    """Compare the files of parts with their marks; a mark goes where one differs. Counts what was read."""
    damaged = [str(path) for mark in marks if (path := _first_changed(mark))]
    return {"parts": len(marks), "damaged": damaged}


def _first_changed(mark: Path) -> Path | None:
    for name, (_, wanted) in read_json(mark)["files"].items():
        path = mark.with_name(name)
        if sum_of(path) != wanted:
            mark.unlink()
            return path
    return None
