"""One process at a time in a stage's folder.

    with locked(work / "dataset", "preparing"):
        ...

The lock is the kernel's (flock) on `.<folder>.lock` beside the folder, or beside what that links to, so it is
gone when its holder is, however that ended, and a file that was left behind blocks nobody. What stands in the
file is for people: who holds the lock, or who held it last. Network file systems that have locks (NFS, Lustre
with `flock`) keep them between hosts.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from data_prep.contract.settings import InputError

PATIENCE = 10.0
"""Seconds for which a holder is waited for: one that is being ended needs a few to leave."""


@contextmanager
def locked(folder: Path, what: str, patience: float | None = None, leave: bool = True) -> Iterator[None]:
    """Hold the lock of a folder, which need not be there yet. `what` is told to others: "preparing".

    The file stays beside the folder unless `leave` is false, as for folders that a command writes but once.

    Raises `InputError` where another process holds it and goes on doing so for `patience` seconds
    (`PATIENCE`), or where nothing can be written beside the folder.
    """
    path = _lock_of(folder)
    with _taken(path, folder, time.monotonic() + (PATIENCE if patience is None else patience)) as file:
        _tell(file, what)
        try:
            yield
        finally:
            if not leave:
                path.unlink(missing_ok=True)


@contextmanager
def reading(folder: Path, what: str) -> Iterator[None]:
    """Keep those who would make a folder anew from it while it is read. Readers share it with one another.

    Raises `InputError` where another process is making it. Where nothing can be written beside the folder
    nobody makes it anew, either, and nothing is locked.
    """
    path = _lock_of(folder)
    try:
        file = path.open("a+")
    except OSError:
        yield
        return
    with file:
        _take(file, path, folder, time.monotonic() + PATIENCE, fcntl.LOCK_SH)
        _tell(file, what)
        yield


def _lock_of(folder: Path) -> Path:
    """The same file by whatever name a folder goes: who makes it and who reads it may come by links."""
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.lock")


def _tell(file: IO[str], what: str) -> None:
    with suppress(OSError):  # a full disk; what stands there is for people
        file.truncate(0)
        file.write(json.dumps({"what": what, "pid": os.getpid(), "host": socket.gethostname()}))
        file.flush()


def _opened(path: Path, folder: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+")
    except OSError as error:
        raise InputError(f"{folder}: nothing can be written there ({error.strerror}: {path})") from error


def _taken(path: Path, folder: Path, deadline: float) -> IO[str]:
    """The file of a lock, held; another is opened where the last holder took it away meanwhile."""
    while True:
        file = _opened(path, folder)
        try:
            _take(file, path, folder, deadline)
            if _is_still(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _is_still(file: IO[str], path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _take(file: IO[str], path: Path, folder: Path, deadline: float, how: int = fcntl.LOCK_EX) -> None:
    while True:
        try:
            return fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise InputError(f"{folder}: {_holder(path)}; wait for it or end it") from None
            time.sleep(0.1)
        except OSError as error:
            raise InputError(f"{path}: this file system has no locks ({error.strerror})") from error


def _holder(path: Path) -> str:
    """Who is there, as far as its file says."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        holder = json.loads(path.read_text())
        return f"process {holder['pid']} on {holder['host']} is {holder['what']} here"
    return "another process is at work here"
