"""The folder in which a supervisor and the ranks that it has started hear of one another.

    work/.pretrain.attempts/
        lock                    held by the supervisor
        current.json            the attempt that counts, a beat while the supervisor lives, whether to stop
        0003-1f9c2b.00005       what rank 5 of attempt 3 has to report: its exit status and host

A shared file system is all that the hosts of a job have in common when a link is cut or a process is stopped.
A rank that is not of the current attempt ends itself: what is left of an earlier attempt on a host that could
not be reached must not go on beside the new one. A rank whose supervisor is gone saves and leaves.
"""

import fcntl
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from data_prep.contract.receipt import write_atomic
from data_prep.contract.settings import InputError, Settings

POLL_SECONDS = 1.0
SILENCE_SECONDS = 60.0
"""Time without a beat after which the supervisor is taken to be gone."""


class Current(Settings):
    attempt: str
    """Name of the attempt whose ranks may run."""
    number: int
    """Attempts so far in this work folder."""
    beat: int = 0
    """Grows while the supervisor lives."""
    stop: bool = False
    """Whether the ranks are to save and leave."""
    restarts: int = 0
    """How often this command has started the training again."""


class Report(Settings):
    status: int
    """Exit status of a rank."""
    host: str
    """Where it ran."""
    rank: int
    """Which one it was."""


def folder_of(work: Path, stage: str) -> Path:
    """Where the attempts at a stage are kept."""
    return work / f".{stage}.attempts"


class Attempts:
    """The supervisor's side. `InputError` where another command supervises the same stage."""

    def __init__(self, work: Path, stage: str) -> None:
        self.folder = folder_of(work, stage)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock(work / stage)
        found = read(self.folder)
        self.current = Current(attempt="", number=found.number if found else 0)

    def _take_lock(self, run: Path) -> IO[str]:
        lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{run}: another command is training here; wait for it or end it") from None
        return lock

    def begin(self, restarts: int) -> str:
        """Name another attempt; ranks of any before it end themselves."""
        for report in self.folder.glob("*-*.*"):
            report.unlink()
        number = self.current.number + 1
        name = f"{number:04d}-{uuid.uuid4().hex[:6]}"
        self._write(Current(attempt=name, number=number, restarts=restarts))
        return name

    def retire(self) -> None:
        """No attempt counts any more."""
        self._write(self.current.model_copy(update={"attempt": ""}))

    def beat(self, stop: bool) -> None:
        """Show that the supervisor lives, and whether the ranks are to stop."""
        self._write(self.current.model_copy(update={"beat": self.current.beat + 1, "stop": stop}))

    def reports(self) -> list[Report]:
        """What ranks of the current attempt have reported, by rank."""
        paths = sorted(self.folder.glob(f"{self.current.attempt}.*"))
        return [Report.model_validate_json(path.read_bytes()) for path in paths]

    def close(self) -> None:
        """Let another command supervise."""
        self._lock.close()

    def _write(self, current: Current) -> None:
        self.current = current
        with suppress(OSError):  # a full disk; the ranks go by what was written last
            write_atomic(self.folder / "current.json", current.model_dump_json())


def read(folder: Path) -> Current | None:
    """The current attempt; None where there is none or it cannot be read."""
    try:
        return Current.model_validate_json((folder / "current.json").read_bytes())
    except (OSError, ValidationError):
        return None


def follow(folder: Path, attempt: str, stop: Callable[[], None]) -> None:
    """A rank's side: end this process when its attempt counts no more, call `stop` when it is to stop."""
    threading.Thread(target=_follow, args=(folder, attempt, stop), name="attempt", daemon=True).start()


def _follow(folder: Path, attempt: str, stop: Callable[[], None]) -> None:
    beat, heard = -1, time.monotonic()
    while True:
        current = read(folder)
        if current is not None and current.attempt != attempt:
            os._exit(1)
        if current is not None and current.beat != beat:
            beat, heard = current.beat, time.monotonic()
        if (current is not None and current.stop) or time.monotonic() - heard > SILENCE_SECONDS:
            stop()
        time.sleep(POLL_SECONDS)


def report(folder: Path, attempt: str, status: int) -> None:
    """A rank's side: say with which status this process ends."""
    rank = int(os.environ.get("RANK", "0"))
    said = Report(status=status, host=socket.gethostname(), rank=rank)
    with suppress(OSError):  # a full disk; the exit status tells the same
        write_atomic(folder / f"{attempt}.{rank:05d}", said.model_dump_json())
