"""Folders that a task keeps its copies in for a while.

A task that is killed leaves its folder behind, and the next one on the machine that wants a folder removes
it: a folder is in use while its maker holds a lock on it.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "bloomery-scratch-"
YOUNG = 60.0
"""Seconds in which a new folder is let be: its maker may be about to lock it."""


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder on this machine, gone afterwards; `TMPDIR` says where."""
    remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        lock = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            yield Path(name)
        finally:
            os.close(lock)


def remove_abandoned(young: float = YOUNG) -> None:
    """Remove the folders of tasks that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # another process was quicker, or the folder is someone else's
            if time.time() - folder.stat().st_mtime < young:
                continue
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)
