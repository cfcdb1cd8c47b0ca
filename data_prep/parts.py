"""The unit of work: a part reads files, writes files, and hands back a few counts.

A part's name is the fingerprint of its function's version, its arguments and its inputs' names, and its files
are called by that name: `parts/<step>/<name>.<suffix>`, then `<name>.json` last, with their sizes and sums.
So a finished part can be trusted whatever happened since, and a changed recipe can never meet the files of
another. Ray Data decides where and when parts run; only their arguments and counts go through it.

Where the dataset lies in object storage, a part works in a folder of its own on its node: what it reads is
copied there before, what it wrote is copied back afterwards, the mark that it is done last.
"""

import errno
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from data_prep.contract.reading import read_json
from data_prep.contract.receipt import fingerprint, write_atomic
from data_prep.contract.settings import InputError
from data_prep.damage import DamagedPartError, first_damaged, mark_of, sum_of
from data_prep.scratch import scratch
from data_prep.storage import Storage

Work = Callable[..., dict[str, Any]]
"""What a part does: takes `output`, the path of its files without a suffix, and the part's arguments by name;
returns counts for the receipt."""

FOLDER = "parts"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Part:
    """One finished or wanted unit of work."""

    step: str
    name: str
    storage: Storage
    arguments: Mapping[str, Any] = field(default_factory=dict)
    sliced: frozenset[str] = frozenset()
    """Arguments whose files the work reads in pieces, by its argument `storage`; others are there whole."""
    counts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def output(self) -> Path:
        return self.storage.folder / FOLDER / self.step / self.name

    def path(self, suffix: str) -> Path:
        """The part's file with this suffix."""
        return self.output.with_name(f"{self.name}.{suffix}")


def plan(
    storage: Storage,
    step: str,
    version: int,
    arguments: Mapping[str, Any],
    *depends: Any,
    unnamed: Mapping[str, Any] | None = None,
    sliced: Iterable[str] = (),
) -> Part:
    """A part of `step`, named by all that its result depends on.

    `arguments` go to the function and are plain data; those that are paths into the parts folder carry the
    fingerprint of what is in them in their names. `depends` is whatever else matters, such as the size and
    time of an input file. `unnamed` goes to the function too but is no part of the name: it only says where
    something lies that `depends` stands for. `version` is raised when the function's result changes.
    """
    named = {key: _relative(value, storage.folder) for key, value in arguments.items()}
    name = fingerprint(step, version, named, *depends)
    return Part(step, name, storage, {**arguments, **(unnamed or {})}, frozenset(sliced))


def _relative(value: Any, folder: Path) -> Any:
    """Paths without the dataset's folder before them, so that a moved folder keeps its parts."""
    if isinstance(value, Path):
        return str(value.relative_to(folder)) if value.is_relative_to(folder) else str(value)
    if isinstance(value, list | tuple):
        return [_relative(item, folder) for item in value]
    return value


def do_part(work: Work, part: Part) -> dict[str, Any]:
    """Run one part where it is: the row that comes back has its name and its counts, or a sentence."""
    start = time.perf_counter()
    row = {"name": part.name, "error": "", "damaged": "", "no_room": 0, "counts": "", "seconds": 0.0}
    try:
        with staged(part) as here:
            counts = _work(work, part, here)
            seconds = time.perf_counter() - start
            write_atomic(here.path("json"), _marked(counts, seconds, _files(here)))
    except DamagedPartError as error:
        return row | {"damaged": error.path}
    except InputError as error:
        return row | {"error": str(error)}
    except OSError as error:
        short = str(error).endswith(" written")  # numpy's own words, without a number, for a file cut short
        if error.errno not in NO_ROOM and not short:
            raise
        return row | {"no_room": error.errno or errno.ENOSPC}
    return row | {"counts": json.dumps(counts), "seconds": seconds}


def _work(work: Work, part: Part, here: Part) -> dict[str, Any]:
    """Do it; where that fails because of a file of an earlier part, unmark that and raise its error."""
    try:
        return work(here.output, **here.arguments)
    except InputError:
        raise
    except Exception:
        parts = here.storage.folder / FOLDER
        bad = first_damaged(path for path in _paths(here.arguments) if path.is_relative_to(parts))
        if bad is None:
            raise
        original = part.storage.folder / bad.relative_to(here.storage.folder)
        part.storage.delete(mark_of(original))
        raise DamagedPartError(str(original)) from None


def _files(part: Part) -> dict[str, tuple[int, int]]:
    """Size and sum of each file that a part has written, by their names."""
    there = part.output.parent.glob(f"{part.name}.*")
    return {path.name: (path.stat().st_size, sum_of(path)) for path in there if path != part.path("json")}


def _marked(counts: dict[str, Any], seconds: float, files: dict[str, tuple[int, int]]) -> str:
    """A part's mark, as JSON, which tells whether it is what was written."""
    mark = json.loads(json.dumps({"counts": counts, "seconds": seconds, "files": files}))
    return json.dumps(mark | {"sum": fingerprint(mark)})


@contextmanager
def staged(part: Part) -> Iterator[Part]:
    """The part as it runs here: what it reads is in its folder, what it wrote goes where it belongs.

    In a folder that every node sees that is the part itself.
    """
    if not part.storage.address:
        part.output.parent.mkdir(parents=True, exist_ok=True)
        yield part
        return
    with scratch() as folder:
        storage = replace(part.storage, folder=folder)
        moved = {key: _moved(value, part.storage, storage) for key, value in part.arguments.items()}
        here = replace(part, storage=storage, arguments=moved)
        here.output.parent.mkdir(parents=True)
        whole = [value for key, value in moved.items() if key not in part.sliced]
        read = {path for path in _paths(whole) if path.is_relative_to(storage.folder)}
        storage.fetch(*sorted(read))
        yield here
        written = {path for path in storage.folder.rglob("*") if path.is_file()} - read
        storage.store(*sorted(written - {here.path("json")}), here.path("json"))


def _moved(value: Any, old: Storage, new: Storage) -> Any:
    """An argument with the paths in the old storage's folder in the new one's."""
    if isinstance(value, Storage):
        return new
    if isinstance(value, Path) and value.is_relative_to(old.folder):
        return new.folder / value.relative_to(old.folder)
    if isinstance(value, list):
        return [_moved(item, old, new) for item in value]
    if isinstance(value, dict):
        return {key: _moved(item, old, new) for key, item in value.items()}
    return value


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _paths(item)


def finished(wanted: Sequence[Part]) -> dict[str, Part]:
    """Those of the parts that have been done and whose files are there, with their counts, by name."""
    found: dict[str, Part] = {}
    marks = {part.path("json"): part for part in wanted}
    for storage, folder in {(part.storage, part.output.parent) for part in wanted}:
        sizes = storage.files(folder)
        for path, content in storage.read(*(sizes.keys() & marks.keys())).items():
            done = _mark(content)
            if done and all(sizes.get(folder / name) == size for name, (size, _) in done["files"].items()):
                found[marks[path].name] = replace(marks[path], counts=done["counts"], seconds=done["seconds"])
    return found


def _mark(content: bytes) -> dict[str, Any]:
    """What a part's mark says; nothing where it is damaged, so that the part is done again."""
    try:
        done = read_json(content)
    except InputError:
        return {}
    said = done.pop("sum", None) if isinstance(done, dict) else None
    return done if said and fingerprint(done) == said else {}


Execute = Callable[[str, Work, Sequence[Part]], Iterator[dict[str, Any]]]
"""Runs the parts of a step somewhere and yields their rows as they end: Ray's, or one that runs them here."""


def run_parts(
    execute: Execute,
    work: Work,
    wanted: Sequence[Part],
    done: Mapping[str, Part],
    report: Callable[[Part], None] = lambda part: None,
) -> list[Part]:
    """Do those of the wanted parts that are not done; all of them, in the wanted order.

    Raises `InputError` with the sentence of the first part that found something wrong in its input, a
    `DamagedPartError` where that was made here.
    """
    result = dict(done)
    todo = {part.name: part for part in wanted if part.name not in done}
    if todo:
        for row in execute(next(iter(todo.values())).step, work, list(todo.values())):
            if row["no_room"]:
                folder = todo[row["name"]].output.parent
                raise OSError(row["no_room"], os.strerror(row["no_room"]), str(folder))
            if row["damaged"]:
                raise DamagedPartError(row["damaged"])
            if row["error"]:
                raise InputError(row["error"])
            part = replace(todo[row["name"]], counts=json.loads(row["counts"]), seconds=row["seconds"])
            result[part.name] = part
            report(part)
    return [result[part.name] for part in wanted]


Result = TypeVar("Result")


def made_again(work: Callable[[], Result], storage: Storage, notify: Callable[[str], None]) -> Result:
    """Do something with finished parts, again where one turns out to be damaged and loses its mark."""
    found: set[str] = set()
    while True:
        try:
            return _blamed(work, storage)
        except DamagedPartError as error:
            if error.path in found:
                raise
            found.add(error.path)
            notify(f"prep: {error.path}: damaged, made again")


def _blamed(work: Callable[[], Result], storage: Storage) -> Result:
    """What fails here and not in a part may have read a damaged file, too."""
    try:
        return work()
    except InputError:
        raise
    except Exception:
        bad = None if storage.address else first_damaged((storage.folder / FOLDER).glob("*/*"))
        if bad is None:
            raise
        mark_of(bad).unlink(missing_ok=True)
        raise DamagedPartError(str(bad)) from None


def remove_unused(storage: Storage, used: Iterable[Part]) -> None:
    """Delete what other configurations left behind."""
    keep = {part.output for part in used}
    unused = [
        path
        for path in storage.files(storage.folder / FOLDER)
        if path.parent / path.name.lstrip(".").split(".")[0] not in keep
    ]
    storage.delete(*unused)
