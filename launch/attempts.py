"""The folder in which a supervisor and the ranks that it has started hear of one another.

    work/.pretrain.attempts/
        lock              held by the supervisor
        2-1f9c2b/         there while this attempt, after two restarts, is the one that counts
            go            touched while the supervisor lives, taken away to ask the ranks to save and leave
            rank-00005    what rank 5 has to report: its exit status and host
            said          there as soon as a rank says what is wrong with the input

A shared file system is all that the hosts of a job have in common when a link is cut or a process is stopped;
touching and removing work on a full disk too. A rank whose attempt is gone ends itself: what is left of an
earlier attempt on a host that could not be reached must not go on beside the new one. A rank whose supervisor
is gone saves and leaves.
"""

import fcntl
import os
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from data_prep.contract.receipt import write_atomic
from data_prep.contract.settings import InputError

SAID = "said"
POLL_SECONDS = 1.0
SILENCE_SECONDS = 120.0
"""Time without a touch after which the supervisor is taken to be gone."""


class Report(NamedTuple):
    """How a rank ended."""

    rank: int
    status: int
    host: str


def folder_of(work: Path, stage: str) -> Path:
    """Where the attempts at a stage are kept."""
    return work / f".{stage}.attempts"


class Attempts:
    """The supervisor's side. `InputError` where another command supervises the same stage."""

    def __init__(self, work: Path, stage: str) -> None:
        self.folder = folder_of(work, stage)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock(work / stage)
        self.current = self.folder / "none"
        for old in self.folder.glob("*-*"):
            shutil.rmtree(old)

    def _take_lock(self, run: Path) -> IO[str]:
        lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{run}: another command is training here; wait for it or end it") from None
        return lock

    def begin(self, restarts: int) -> str:
        """Name another attempt."""
        self.current = self.folder / f"{restarts}-{uuid.uuid4().hex[:8]}"
        self.current.mkdir()
        (self.current / "go").touch()
        return self.current.name

    def retire(self) -> None:
        """The attempt does not count any more; its ranks end themselves."""
        shutil.rmtree(self.current, ignore_errors=True)

    def beat(self, stop: bool) -> None:
        """Show that the supervisor lives, or ask the ranks to save and leave."""
        with suppress(FileNotFoundError):
            if stop:
                (self.current / "go").unlink()
            else:
                os.utime(self.current / "go")

    def reports(self) -> list[Report]:
        """What ranks of the attempt have reported, by rank."""
        reports = []
        for path in sorted(self.current.glob("rank-*")):
            status, host = path.read_text().split()
            reports.append(Report(int(path.name.split("-")[1]), int(status), host))
        return reports

    def close(self) -> None:
        """Let another command supervise."""
        self._lock.close()


def restarts_of(attempt: str) -> int:
    """How often the training had been started again when this attempt began."""
    return int(attempt.split("-")[0])


def follow(attempt: Path, stop: Callable[[], None]) -> None:
    """A rank's side: end this process when its attempt is gone, call `stop` when it is to save and leave."""
    threading.Thread(target=_follow, args=(attempt, stop), name="attempt", daemon=True).start()


def _follow(attempt: Path, stop: Callable[[], None]) -> None:
    touched, heard = 0, time.monotonic()
    while True:
        try:
            # Opened, since a network file system may answer `stat` from memory, but not after `open`.
            with (attempt / "go").open() as file:
                now = os.fstat(file.fileno()).st_mtime_ns
            if now != touched:
                touched, heard = now, time.monotonic()
        except FileNotFoundError:
            if not attempt.exists():
                os._exit(1)
            stop()
        except OSError:
            pass  # a file system that does not answer at the moment; silence has its own limit
        if time.monotonic() - heard > SILENCE_SECONDS:
            stop()
        time.sleep(POLL_SECONDS)


def report(attempt: Path, status: int) -> None:
    """A rank's side: say with which status this process ends."""
    rank = int(os.environ.get("RANK", "0"))
    with suppress(OSError):  # a full disk, or an attempt that is gone; the exit status tells the same
        write_atomic(attempt / f"rank-{rank:05d}", f"{status} {socket.gethostname()}")


def speaks(attempt: Path | None) -> bool:
    """A rank's side: whether this rank is the first to ask, and so the one that tells the user for all ranks.

    Where nobody supervises, and there is no attempt, the ranks that one launcher has started agree on it.
    """
    try:
        (attempt / SAID if attempt else _file_of_launcher()).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True  # a full disk, or an attempt that is gone: better said twice than never
    return True


def has_been_said(attempt: Path | None) -> bool:
    """A rank's side: whether one has told the user what is wrong, so that others fail for want of it."""
    return (attempt / SAID if attempt else _file_of_launcher()).exists()


def _file_of_launcher() -> Path:
    """A temporary file that is this launcher's alone: its pid comes again, but with another time of start."""
    launcher = os.getppid()
    begun = Path(f"/proc/{launcher}/stat").read_text().rsplit(")", 1)[1].split()[19]
    return Path(tempfile.gettempdir()) / f"bloomery-{SAID}-{launcher}-{begun}"
