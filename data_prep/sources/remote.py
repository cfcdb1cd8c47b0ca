"""Files behind URLs (s3://, gs://, https:// and what else fsspec knows): listed, and copied here to be read.

A part copies a file whole before it reads it, so that a broken connection is tried again and never looks like
a damaged file.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_prep.contract.names import shown, without_password
from data_prep.contract.settings import InputError
from data_prep.documents import hash64
from data_prep.scratch import scratch
from data_prep.sources.files import Found, InputFile, fits

ATTEMPTS = 4


def is_remote(path: str) -> bool:
    """Whether a path is a URL."""
    return "://" in path


def list_remote(given: str, suffixes: tuple[str, ...]) -> Found:
    """The files behind a URL: itself, what its glob matches, what lies in it. `InputError` where none is."""
    import fsspec

    others: list[str] = []
    try:
        system, path = fsspec.core.url_to_fs(given)
        if any(sign in path for sign in ("*[" if _is_web(system) else "*?[")):
            found = system.glob(path, detail=True)
        elif _is_folder(system, path):
            found = system.find(path, detail=True)
            others = [_name(name, path) for name in sorted(found) if not fits(Path(name), suffixes)]
            found = {name: info for name, info in found.items() if fits(Path(name), suffixes)}
        else:
            found = {path: system.info(path)}
    except ImportError as error:
        raise InputError(
            f"corpus.paths: {shown(given)} needs a package that is not installed ({error})"
        ) from error
    except (OSError, ValueError, PermissionError) as error:
        problem = without_password(f"{type(error).__name__}: {error}")
        raise InputError(f"corpus.paths: {shown(given)} cannot be read ({problem})") from error
    files = [
        InputFile(system.unstrip_protocol(name), _name(name, path), int(info.get("size") or 0), _state(info))
        for name, info in sorted(found.items())
        if info.get("type", "file") == "file"
    ]
    if not files:
        raise InputError(f"corpus.paths: no file matches {shown(given)}")
    return Found(files, others)


def _is_folder(system: Any, path: str) -> bool:
    return not _is_web(system) and system.isdir(path)


def _is_web(system: Any) -> bool:
    """Whether there are no folders, and a question mark begins a query."""
    return "http" in system.protocol


def _name(found: str, given: str) -> str:
    """The path below the folder that was named, or the file's name."""
    folder = given.rstrip("/") + "/"
    name = found.removeprefix(folder) if found.startswith(folder) else found.split("?")[0].rsplit("/", 1)[-1]
    return without_password(name)


def _state(info: dict[str, Any]) -> int:
    """What changes when the file does, as a number: its ETag, else its time."""
    for key in ("ETag", "etag", "md5Hash", "LastModified", "mtime", "updated"):
        if info.get(key):
            return hash64(str(info[key])) >> 1
    return 0


@contextmanager
def here(file: InputFile) -> Iterator[InputFile]:
    """The file on this machine: itself, or a copy that is deleted afterwards. What rules make has no path.

    Raises `InputError` where it cannot be had after some attempts, or cannot be opened (any more).
    """
    if not file.path:
        yield file
        return
    if not is_remote(file.path):
        try:
            Path(file.path).open("rb").close()
        except OSError as error:
            raise InputError(f"{shown(file.path)}: cannot be read ({error.strerror or error})") from error
        yield file
        return
    with scratch() as folder:
        local = folder / file.path.split("?")[0].rsplit("/", 1)[-1][-100:]
        _copy(file, local)
        yield replace(file, path=str(local))


def _copy(file: InputFile, local: Path) -> None:
    import fsspec

    for attempt in range(1, ATTEMPTS + 1):
        try:
            system, path = fsspec.core.url_to_fs(file.path)
            system.get_file(path, str(local))
            if not file.size or local.stat().st_size == file.size:
                return
            problem = f"{local.stat().st_size} of {file.size} bytes came"
        except (OSError, ValueError) as error:
            problem = without_password(f"{type(error).__name__}: {error}")
        time.sleep(attempt**2 if attempt < ATTEMPTS else 0)
    raise InputError(f"{shown(file.path)}: cannot be copied in {ATTEMPTS} attempts ({problem})")
