"""Where a dataset and its parts lie: in a folder that every node sees, or at an address in object storage.

Code reads and writes local paths. With an address, `folder` is only a place on this machine that stands for
it: `fetch` copies objects there, `store` copies files from there. An object appears whole or not at all, so
nothing is renamed in a bucket; what says that other files are complete is stored after them.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from data_prep.contract.names import without_password
from data_prep.contract.receipt import file_hash, write_atomic
from data_prep.contract.settings import InputError
from data_prep.scratch import scratch

GIVEN = "given"
"""Folder of files that a recipe names and that lay on the machine that started the preparation."""
ATTEMPTS = 4
FINAL = (FileNotFoundError, PermissionError)
"""Answers that another attempt would not change."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Storage:
    """A dataset's folder: itself, or a stand-in on this machine for what lies at `address`.

    Every method raises `InputError` where the storage refuses, or does not answer in several attempts.
    """

    folder: Path
    address: str = ""

    def __str__(self) -> str:
        return without_password(self.address) or str(self.folder)

    def store(self, *paths: Path) -> None:
        """Copy files to the address in this order: what says that others are complete comes last."""
        for path in paths if self.address else ():
            self._try(partial(_put, source=path, target=self._target(path)))

    def fetch(self, *paths: Path) -> None:
        """Copy files from the address into the folder here, several at once."""
        if not self.address or not paths:
            return
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        targets, here = [*map(self._target, paths)], [*map(str, paths)]
        self._try(lambda system: system.get(targets, here))

    def read(self, *paths: Path) -> dict[Path, bytes]:
        """The contents of those small files that are there, several at once."""
        if not self.address:
            return {path: path.read_bytes() for path in paths if path.is_file()}
        found = self._ranges(paths, [None] * len(paths), [None] * len(paths))
        return {
            path: content for path, content in zip(paths, found, strict=True) if isinstance(content, bytes)
        }

    def slices(self, paths: Sequence[Path], starts: Sequence[int], stops: Sequence[int]) -> list[bytes]:
        """Bytes [start, stop) of each file, several at once."""
        if not self.address:
            return [_slice(*piece) for piece in zip(paths, starts, stops, strict=True)]
        wanted = [piece for piece in zip(paths, starts, stops, strict=True) if piece[1] < piece[2]]
        found = dict(zip(wanted, self._ranges(*zip(*wanted, strict=True)) if wanted else [], strict=True))
        for (path, *_), content in found.items():
            if content is None:
                raise InputError(f"{self}: {path.relative_to(self.folder)} is missing")
        return [found.get(piece) or b"" for piece in zip(paths, starts, stops, strict=True)]

    @contextmanager
    def open(self, path: Path) -> Iterator[IO[bytes]]:
        """A file for reading in pieces, such as some columns of a Parquet file."""
        if self.address:
            file: IO[bytes] = self._try(lambda system: system.open(self._target(path), "rb"))
        else:
            file = path.open("rb")
        with file:
            yield file

    @contextmanager
    def here(self, path: Path) -> Iterator[Path]:
        """A file on this machine for a while: itself, or a copy."""
        if not self.address:
            yield path
            return
        with scratch() as folder:
            there = replace(self, folder=folder)
            copy = there.folder / path.relative_to(self.folder)
            there.fetch(copy)
            yield copy

    def give(self, path: Path) -> Path:
        """A small file of this machine, where every node finds it."""
        if not self.address:
            return path
        copy = self.folder / GIVEN / file_hash(path)[:16] / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(copy, path.read_bytes())
        self.store(copy)
        return copy

    def files(self, folder: Path) -> dict[Path, int]:
        """The size of every file below a folder."""
        if not self.address:
            return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
        root = self._target(self.folder)
        found = self._try(lambda system: system.find(self._target(folder), detail=True))
        return {
            self.folder / name.removeprefix(f"{root}/"): int(about["size"]) for name, about in found.items()
        }

    def delete(self, *paths: Path) -> None:
        """Remove files that are there."""
        for path in paths:
            path.unlink(missing_ok=bool(self.address))
        if self.address and paths:
            self._try(lambda system: system.rm([*map(self._target, paths)]))

    def _target(self, path: Path) -> str:
        """The name of a file in the address's file system."""
        root = str(self._system()[1]).rstrip("/")
        name = path.relative_to(self.folder).as_posix()
        return root if name == "." else f"{root}/{name}"

    def _ranges(
        self, paths: Sequence[Path], starts: Sequence[int | None], stops: Sequence[int | None]
    ) -> list[bytes | None]:
        """Pieces of files, several at once; None for a file that is not there."""
        if not paths:
            return []
        names = [*map(self._target, paths)]
        found = self._try(lambda system: system.cat_ranges(names, [*starts], [*stops], on_error="return"))
        for number, content in enumerate(found):
            if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                found[number] = self._try(
                    partial(_piece, name=names[number], start=starts[number], stop=stops[number])
                )
        return [content if isinstance(content, bytes) else None for content in found]

    def _system(self) -> tuple[Any, str]:
        """The address's file system, and its root there. Listings are never kept: others write there too."""
        import fsspec

        try:
            found: tuple[Any, str] = fsspec.core.url_to_fs(self.address, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise InputError(
                f"{self}: no storage that can be used here ({without_password(str(error))})"
            ) from error
        return found

    def _try(self, action: Callable[[Any], Result]) -> Result:
        """Do something with the address's file system; trouble on the way there is tried again."""
        system, _ = self._system()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return action(system)
            except Exception as error:  # the clients of object stores raise what their libraries raise
                if attempt == ATTEMPTS or isinstance(error, FINAL) or not isinstance(error, OSError):
                    problem = without_password(f"{type(error).__name__}: {error}")
                    raise InputError(f"{self}: cannot be used ({problem})") from error
            time.sleep(attempt**2)
        raise AssertionError("the last attempt returns or raises")


def _put(system: Any, source: Path, target: str) -> None:
    system.put_file(str(source), target)


def _piece(system: Any, name: str, start: int | None, stop: int | None) -> Any:
    return system.cat_file(name, start=start, end=stop)


def _slice(path: Path, start: int, stop: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(stop - start)
