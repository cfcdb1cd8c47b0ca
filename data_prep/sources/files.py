"""The files that a recipe names: found, told apart, grouped into parts."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.contract.names import printable
from data_prep.contract.settings import InputError
from data_prep.documents import hash64

COMPRESSIONS = (".gz", ".xz", ".zst", ".bz2", ".lz4")
LISTS = tuple(f".paths{suffix}" for suffix in ("", *COMPRESSIONS))
"""Files with a path or URL a line, as Common Crawl publishes them."""


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


@dataclass(frozen=True)
class Found:
    """What a path names."""

    files: list[InputFile]
    others: list[str]
    """Names of what it may have meant, and what is not read: files of other kinds in a folder, links."""


def find_local(given: str, suffixes: tuple[str, ...]) -> Found:
    """The files that a path names: itself, what its glob matches, or the files with one of `suffixes`
    (compressed or not) in the folder and those below.

    Raises `InputError` for a path with nothing behind it, or where a folder cannot be looked into.
    """
    path, shown = Path(given), printable(given)
    try:
        if path.is_dir():
            found = _in_folder(path, suffixes)
            if not found.files:
                raise InputError(f"{shown}: no {' or '.join(suffixes)} files in this folder")
            return found
        if path.is_file():
            return Found([_input_file(path, path.name)], [])
        matches = [Path(match) for match in sorted(glob.glob(given, recursive=True))]  # noqa: PTH207
        files = [_input_file(match, match.name) for match in matches if match.is_file()]
    except OSError as error:
        raise InputError(f"corpus.paths: {shown} cannot be read ({error})") from error
    if not files:
        raise InputError(f"corpus.paths: no file matches {shown}")
    return Found(files, [match.name for match in matches if not match.is_file()])


def _in_folder(path: Path, suffixes: tuple[str, ...]) -> Found:
    """Links to folders are named and not followed: they may lead in circles."""
    files: list[Path] = []
    others: list[Path] = []
    for root, folders, names in os.walk(path, onerror=_raise):
        others += [entry for name in folders if (entry := Path(root, name)).is_symlink()]
        for entry in (Path(root, name) for name in names):
            (files if entry.is_file() and fits(entry, suffixes) else others).append(entry)
    return Found(
        [_input_file(entry, entry.relative_to(path).as_posix()) for entry in sorted(files)],
        [entry.relative_to(path).as_posix() for entry in sorted(others)],
    )


def _raise(error: OSError) -> None:
    raise error


def _input_file(path: Path, name: str) -> InputFile:
    state = path.stat()
    return InputFile(str(path), name, state.st_size, state.st_mtime_ns)


def real_place(path: str) -> str:
    """The one name of a file that goes by several: by links, or from another folder. Addresses stay."""
    return path if "://" in path else os.path.realpath(path)


def fits(path: Path, suffixes: tuple[str, ...]) -> bool:
    bare = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path
    return bare.suffix.lower() in suffixes and not path.name.startswith(".")


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
