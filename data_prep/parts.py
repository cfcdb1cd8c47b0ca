"""The unit of work: a part reads files, writes files, and hands back a few counts.

A part's name is the fingerprint of its function's version, its arguments and its inputs' names, and its files
are called by that name: `parts/<step>/<name>.<suffix>`, then `<name>.json` last. So a finished part can be
trusted whatever happened since, and a changed recipe can never meet the files of another. Ray Data decides
where and when parts run; only their arguments and counts go through it.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prep.contract.receipt import fingerprint, write_atomic
from data_prep.contract.settings import InputError

Work = Callable[..., dict[str, Any]]
"""What a part does: takes `output`, the path of its files without a suffix, and the part's arguments by name;
returns counts for the receipt."""


@dataclass(frozen=True)
class Part:
    """One finished or wanted unit of work."""

    step: str
    name: str
    folder: Path
    arguments: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def path(self, suffix: str) -> Path:
        """The part's file with this suffix."""
        return self.folder / f"{self.name}.{suffix}"

    @property
    def output(self) -> Path:
        return self.folder / self.name

    def finished(self) -> "Part | None":
        """The part with its counts where it has been done, else None."""
        try:
            done = json.loads(self.path("json").read_bytes())
        except FileNotFoundError:
            return None
        return Part(self.step, self.name, self.folder, self.arguments, done["counts"], done["seconds"])


def plan(
    parts_folder: Path,
    step: str,
    version: int,
    arguments: Mapping[str, Any],
    *depends: Any,
    unnamed: Mapping[str, Any] | None = None,
) -> Part:
    """A part of `step`, named by all that its result depends on.

    `arguments` go to the function and are plain data; those that are paths into the parts folder carry the
    fingerprint of what is in them in their names. `depends` is whatever else matters, such as the size and
    time of an input file. `unnamed` goes to the function too but is no part of the name: it only says where
    something lies that `depends` stands for. `version` is raised when the function's result changes.
    """
    folder = parts_folder / step
    named = {key: _relative(value, parts_folder.parent) for key, value in arguments.items()}
    name = fingerprint(step, version, named, *depends)
    return Part(step, name, folder, {**arguments, **(unnamed or {})})


def _relative(value: Any, folder: Path) -> Any:
    """Paths without the dataset's folder before them, so that a moved folder keeps its parts."""
    if isinstance(value, Path):
        return str(value.relative_to(folder)) if value.is_relative_to(folder) else str(value)
    if isinstance(value, list | tuple):
        return [_relative(item, folder) for item in value]
    return value


def do_part(work: Work, step: str, name: str, folder: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run one part where it is: the row that comes back has its name and its counts, or a sentence."""
    start = time.perf_counter()
    part = Part(step, name, folder, arguments)
    try:
        counts = work(part.output, **arguments)
    except InputError as error:
        return {"name": name, "error": str(error), "counts": "", "seconds": 0.0}
    seconds = time.perf_counter() - start
    write_atomic(part.path("json"), json.dumps({"counts": counts, "seconds": seconds}))
    return {"name": name, "error": "", "counts": json.dumps(counts), "seconds": seconds}


Execute = Callable[[str, Work, Sequence[Part]], Iterator[dict[str, Any]]]
"""Runs the parts of a step somewhere and yields their rows as they end: Ray's, or one that runs them here."""


def run_parts(
    execute: Execute, work: Work, wanted: Iterable[Part], report: Callable[[Part], None] = lambda part: None
) -> list[Part]:
    """Do those of the wanted parts that are not done; all of them, in the wanted order.

    Raises `InputError` with the sentence of the first part that found something wrong in its input.
    """
    wanted = list(wanted)
    done = {part.name: part for part in (part.finished() for part in wanted) if part}
    todo = {part.name: part for part in wanted if part.name not in done}
    for part in todo.values():
        part.folder.mkdir(parents=True, exist_ok=True)
    if todo:
        for row in execute(next(iter(todo.values())).step, work, list(todo.values())):
            if row["error"]:
                raise InputError(row["error"])
            asked = todo[row["name"]]
            counts = json.loads(row["counts"])
            done[asked.name] = Part(
                asked.step, asked.name, asked.folder, asked.arguments, counts, row["seconds"]
            )
            report(done[asked.name])
    return [done[part.name] for part in wanted]


def remove_unused(parts_folder: Path, used: Iterable[Part]) -> None:
    """Delete what other configurations left behind."""
    keep = {part.output for part in used}
    for path in parts_folder.glob("*/*"):
        if path.is_file() and path.parent / path.name.lstrip(".").split(".")[0] not in keep:
            path.unlink()
