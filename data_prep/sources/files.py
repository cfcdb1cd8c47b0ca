"""The files that a recipe names: found, told apart, grouped into parts, opened whatever their compression."""

import bz2
import glob
import gzip
import io
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from data_prep.contract.settings import InputError
from data_prep.documents import hash64

COMPRESSIONS = (".gz", ".xz", ".zst", ".bz2")


@dataclass(frozen=True)
class InputFile:
    """One file of the corpus."""

    path: str
    name: str
    """The path within the folder that the recipe names: what documents carry as their source."""
    size: int
    """Bytes on disk."""
    modified: int
    """Nanoseconds since the epoch; with the size it tells whether a file is the one that was read."""


def find_files(paths: Sequence[str], suffixes: tuple[str, ...]) -> list[InputFile]:
    """The files that the paths name, sorted by name: folders are searched for `suffixes`, compressed or not.

    Raises `InputError` for a path with nothing behind it.
    """
    found: dict[str, InputFile] = {}
    for given in paths:
        before = len(found)
        path = Path(given)
        if path.is_dir():
            inside = sorted(entry for entry in path.rglob("*") if entry.is_file() and _fits(entry, suffixes))
            if not inside:
                raise InputError(f"{given}: no {' or '.join(suffixes)} files in this folder")
            matches = [(entry, entry.relative_to(path).as_posix()) for entry in inside]
        elif path.is_file():
            matches = [(path, path.name)]
        else:
            matches = [
                (Path(match), Path(match).name)
                for match in sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - takes absolute paths
                if Path(match).is_file()
            ]
            if not matches:
                raise InputError(f"corpus.paths: no file matches {given}")
        for entry, name in matches:
            state = entry.stat()
            found.setdefault(str(entry), InputFile(str(entry), name, state.st_size, state.st_mtime_ns))
        assert len(found) >= before
    return sorted(found.values(), key=lambda file: (file.name, file.path))


def _fits(path: Path, suffixes: tuple[str, ...]) -> bool:
    bare = path.with_suffix("") if path.suffix in COMPRESSIONS else path
    return bare.suffix in suffixes and not path.name.startswith(".")


def group_files(files: Sequence[InputFile], part_bytes: int, seed: int) -> list[list[InputFile]]:
    """Parts of about `part_bytes`, in a seeded order that does not depend on the order they were named in."""
    groups: list[list[InputFile]] = []
    full = part_bytes
    for file in sorted(files, key=lambda file: (hash64(seed, "files", file.name), file.name, file.path)):
        if full >= part_bytes:
            groups.append([])
            full = 0
        groups[-1].append(file)
        full += file.size
    return groups


def open_stream(path: str) -> IO[bytes]:
    """The decompressed bytes of a file. Reading raises one of `DAMAGE` where the file is broken."""
    match Path(path).suffix:
        case ".gz":
            return io.BufferedReader(gzip.open(path, "rb"))
        case ".xz":
            return lzma.open(path, "rb")
        case ".bz2":
            return bz2.open(path, "rb")
        case ".zst":
            import zstandard

            return io.BufferedReader(zstandard.open(path, "rb"))
        case _:
            return Path(path).open("rb")


def damage_errors() -> tuple[type[Exception], ...]:
    """What reading a broken file raises: a truncated or corrupt compressed stream, a disk error."""
    import zlib

    import zstandard

    return (EOFError, OSError, lzma.LZMAError, zlib.error, zstandard.ZstdError)
