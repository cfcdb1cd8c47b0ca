"""A thread beside every rank that ends a job which does not go on, and says which rank stopped where.

    with Watchdog(job.work / ".pretrain.watch", run, rank, size, timeout) as watchdog:
        watchdog.phase("step", 12)        # from here on it has `timeout` seconds

Every rank's thread leaves a heartbeat with its phase, step and Python stack in a folder that all ranks share.
Where a phase takes too long it raises an alarm there; all threads answer with the stacks of all their
threads, the lowest rank that answers writes the report, and every process ends with the status `HUNG`. Files
are used because nothing else is left when any rank, the first too, may be the one that stopped.
"""

import math
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from pipeline.health.hang import Beat, RankState, verdict, write_report
from pipeline.health.stacks import main_thread, other_threads, place_of

HUNG = 76
"""Exit status of a job that its watchdog ended: start it again, it goes on from its newest checkpoint."""
ALLOWANCE = {"start": 4.0, "data": 1.0, "step": 1.0, "validation": 4.0, "save": 4.0, "end": math.inf}
"""How many times the timeout of a step each phase may take; a process's first step counts as start.

At the end nothing is left to lose, and the first rank may wait for a slow tracking server."""
BEATS = 8
"""Heartbeats within a timeout, of at most `SLOWEST` seconds each."""
SLOWEST = 5.0
ALARM, REPORTED = "alarm", "reported"


class Watchdog:
    """One rank's watchdog. `folder` is empty and there, and the same for all ranks; so is `run`."""

    def __init__(self, folder: Path, run: Path, rank: int, size: int, timeout: float) -> None:
        self.folder, self.run, self.rank, self.size = folder, run, rank, size
        self.timeout = timeout
        self.interval = min(timeout / BEATS, SLOWEST)
        self._phase, self._step, self._since = "start", 0, time.monotonic()
        self._limit = ALLOWANCE["start"] * timeout
        self._number = self._first = self._sample = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching. Where there is an alarm, what failed is its doing: the watchdog ends the process."""
        if (self.folder / ALARM).exists():
            self._thread.join()
        self._closing.set()

    def phase(self, name: str, step: int, sample: int | None = None) -> None:
        """The rank begins another thing, for the step counted from 1; waiting for data is part of a step.

        `sample` is the first sample of the step's global batch, where that is another one now.
        """
        if name != "step":
            self._since = time.monotonic()
        self._first = self._first or step
        self._sample = self._sample if sample is None else sample
        self._phase, self._step = name, step
        allowance = ALLOWANCE[name]
        self._limit = self.timeout * (
            max(allowance, ALLOWANCE["start"]) if step == self._first else allowance
        )

    def _work(self) -> None:
        while not self._closing.wait(self.interval):
            with suppress(OSError):  # a full disk or a folder that the first rank took away ends no training
                self._tell()
                overdue = time.monotonic() - self._since > self._limit
                if overdue and not self._closing.is_set():
                    (self.folder / ALARM).touch()
                if (self.folder / ALARM).exists():
                    self._end()

    def _tell(self, threads: bool = False) -> None:
        """Leave a heartbeat; readers see it whole or the one before."""
        self._number += 1
        stack = main_thread()
        beat = Beat(
            rank=self.rank,
            host=socket.gethostname(),
            pid=os.getpid(),
            number=self._number,
            phase=self._phase,
            step=self._step,
            sample=self._sample,
            seconds=time.monotonic() - self._since,
            place=place_of(stack),
            stack=stack,
            threads=other_threads() if threads else {},
        )
        path = self._path("answer" if threads else "beat", self.rank)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(beat.model_dump_json(), encoding="utf-8")
        temporary.replace(path)

    def _path(self, kind: str, rank: int) -> Path:
        return self.folder / f"{kind}-{rank:05d}.json"

    def _end(self) -> None:
        """Answer the alarm, see to it that there is a report, and end the process."""
        self._tell(threads=True)
        states, missing = self._answers()
        answered = [state.beat.rank for state in states if not state.silent]
        if self.rank == min(answered):
            sentence = verdict(states, missing, self.timeout)
            with suppress(OSError):  # where the disk is full the log has to do
                write_report(self.run, sentence, states)
            print(f"error: {sentence}; every rank's stack is in {self.run}", file=sys.stderr, flush=True)
            (self.folder / REPORTED).touch()
        self._wait(lambda: (self.folder / REPORTED).exists())
        wake(states)
        os._exit(HUNG)

    def _answers(self) -> tuple[list[RankState], list[int]]:
        """Every rank's last words, and the ranks that never had any."""
        paths = [self._path("answer", rank) for rank in range(self.size)]
        self._wait(lambda: all(path.exists() for path in paths))
        states, missing = [], []
        for rank, path in enumerate(paths):
            beat = read(path) or read(self._path("beat", rank))
            if beat is None:
                missing.append(rank)
            else:
                silent = not path.exists()
                states.append(RankState(beat=beat, silent=silent, process=process_state(beat)))
        return states, missing

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Wait for the other ranks' threads, which look at the folder once in an interval."""
        end = time.monotonic() + max(2.0, 3 * self.interval)
        while time.monotonic() < end and not condition():
            time.sleep(self.interval / 10)


def open_folder(folder: Path) -> None:
    """Make the folder of the heartbeats, without what an earlier job left; the first rank calls this."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def remove_folder(folder: Path) -> None:
    """Take the heartbeats away once all ranks have ended in order."""
    shutil.rmtree(folder, ignore_errors=True)


def read(path: Path) -> Beat | None:
    """A rank's heartbeat; None where there is none."""
    try:
        return Beat.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def process_state(beat: Beat) -> str:
    """What this machine says of a rank's process; empty where the rank is on another one."""
    import psutil

    if beat.host != socket.gethostname():
        return ""
    try:
        return f"its process is {psutil.Process(beat.pid).status()}"
    except psutil.NoSuchProcess:
        return "its process is gone"


def wake(states: list[RankState]) -> None:
    """Let stopped processes of this machine go on: they find the alarm and end like all others."""
    for state in states:
        if state.silent and "stopped" in state.process:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(state.beat.pid, signal.SIGCONT)
