"""Starting a training again when it fails, until it has ended or does not get on any more.

    0     the last step is done          2      bad input, which another attempt would meet again
    75    stopped and saved: the same command goes on          else    failed, and given up

A training that fails goes on from its newest checkpoint. Restarts are not counted over a run's whole life, as
a long one on many hosts fails often: what counts are restarts in a row that bring no new step.
"""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

from data_prep.contract.family import die_with_parent
from launch.attempts import Attempts, Report
from launch.settings import SuperviseConfig
from pipeline.checkpoints.run_folder import saved_steps
from pipeline.health.stopping import RESUME
from pipeline.health.watchdog import REPORTED
from pipeline.tracking.metrics import METRICS, newest_step
from pipeline.training.job import Job, has_begun

INPUT_ERROR = 2
LONGEST_BACKOFF = 300.0
POLL_SECONDS = 0.5
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
"""A launcher's status where it, or one of its processes, was ended by SIGKILL."""
GRACE_SECONDS = 10.0
"""How long a launcher may take to end by itself after one of its ranks has failed."""


class NotReadyError(Exception):
    """An attempt cannot be started now; the message says why."""


class Launcher(Protocol):
    """What starts the processes of an attempt: on this machine or over hosts."""

    def command(self, attempt: str, flags: list[str]) -> tuple[list[str], dict[str, str]]:
        """A command and its environment; `flags` are for train.py. Raises `NotReadyError`, `InputError`."""

    def clean(self, attempt: str) -> None:
        """End what an attempt's launcher has left running elsewhere."""


@dataclass
class Outcome:
    """How an attempt ended."""

    status: int
    why: str


class Supervisor:
    """One training and the attempts at it."""

    def __init__(
        self,
        job: Job,
        launcher: Launcher,
        settings: SuperviseConfig,
        notify: Callable[[str], None],
        deadline: float | None = None,
    ) -> None:
        """`deadline`, by `time.monotonic`, is when the training is to save and leave."""
        self.job, self.launcher, self.settings, self.notify = job, launcher, settings, notify
        self.deadline = deadline
        self.restarts = 0
        self._fruitless = 0
        self._asked = threading.Event()
        self._watched = job.work / f".{job.stage}.watch"
        self._furthest = progress(job)
        self._got_on = time.monotonic()
        self._lost_since: float | None = None

    def run(self) -> int:
        """Supervise to the end, or until SIGTERM or Ctrl-C; returns the exit status."""
        with heard(self.stop):
            return self.supervise()

    def supervise(self) -> int:
        """The same in any thread, where somebody else hears of signals and calls `stop`."""
        attempts = Attempts(self.job.work, self.job.stage)
        try:
            return self._run(attempts)
        finally:
            attempts.close()

    def _run(self, attempts: Attempts) -> int:
        while True:
            if self._asked.is_set() or self._minutes_left() == 0.0:
                self.notify(f"{self.job.stage}: stopped; the same command goes on")
                return RESUME
            outcome = self._attempt(attempts)
            if outcome.status in (0, INPUT_ERROR, RESUME):
                return outcome.status
            if self._fruitless >= self.settings.restarts:
                self._give_up(outcome)
                return outcome.status
            self._back_off(outcome)

    def _attempt(self, attempts: Attempts) -> Outcome:
        """Start once, wait for the end, and leave nothing running."""
        shutil.rmtree(self._watched, ignore_errors=True)
        name = attempts.begin(self.restarts)
        flags = ["--stage", self.job.stage, "--attempt", name]
        if (minutes := self._minutes_left()) is not None:
            flags += ["--max-minutes", f"{minutes:.3f}"]
        try:
            command, environment = self.launcher.command(name, flags)
        except NotReadyError as error:
            return Outcome(1, str(error))
        # A session of its own: Ctrl-C is heard by the supervisor alone, and the whole of it can be ended.
        child = subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=die_with_parent)
        try:
            self._wait(child, attempts)
        finally:
            reports = attempts.reports()
            attempts.retire()
            end(child)
            self.launcher.clean(name)
        return outcome_of(child.returncode, reports)

    def _wait(self, child: "subprocess.Popen[bytes]", attempts: Attempts) -> None:
        """Until the launcher ends, or fails to although a rank has failed."""
        failed_at: float | None = None
        while child.poll() is None:
            attempts.beat(self._asked.is_set())
            self._look()
            if failed_at is None and self._has_failed(attempts.reports()):
                failed_at = time.monotonic()
            if failed_at is not None and time.monotonic() - failed_at > GRACE_SECONDS:
                break
            with suppress(subprocess.TimeoutExpired):
                child.wait(POLL_SECONDS)
        self._look()

    def _has_failed(self, reports: list[Report]) -> bool:
        hung = (self._watched / REPORTED).exists()
        return hung or any(report.status not in (0, RESUME) for report in reports)

    def _look(self) -> None:
        """See whether the training has got on."""
        step = progress(self.job)
        if step <= self._furthest:
            return
        now = time.monotonic()
        if self._lost_since is not None:
            lost = now - self._lost_since
            self.notify(f"{self.job.stage}: past step {self._furthest} again, {lost:.1f} s lost")
        self._furthest, self._got_on, self._lost_since, self._fruitless = step, now, None, 0

    def _back_off(self, outcome: Outcome) -> None:
        if self._lost_since is None:
            self._lost_since = self._got_on
        seconds = min(self.settings.backoff_seconds * 2**self._fruitless, LONGEST_BACKOFF)
        self.restarts += 1
        self._fruitless += 1
        self.notify(
            f"{self.job.stage}: failed after step {self._furthest} ({outcome.why}); restart {self.restarts} "
            f"in {seconds:.0f} s"
        )
        self._asked.wait(seconds)

    def _give_up(self, outcome: Outcome) -> None:
        self.notify(
            f"{self.job.stage}: given up after {self._fruitless} restarts without a new step; it does not "
            f"get past step {self._furthest} ({outcome.why})"
        )

    def _minutes_left(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic()) / 60

    def stop(self) -> None:
        """Called by a signal; the second time there is no more waiting."""
        if self._asked.is_set():
            raise KeyboardInterrupt
        self._asked.set()
        self.notify(f"{self.job.stage}: saving after this step, then leaving (again: leaving at once)")


def progress(job: Job) -> int:
    """The furthest step that a job's folder tells of; 0 where the folder is another job's or is not there."""
    if not has_begun(job):
        return 0
    return max([newest_step(job.folder / METRICS), *saved_steps(job.folder)])


def outcome_of(returncode: int, reports: list[Report]) -> Outcome:
    """What a launcher's status and its ranks' reports come to; the ranks know better."""
    statuses = {report.status for report in reports} | {returncode}
    for status in (INPUT_ERROR, RESUME):
        if status in statuses:
            return Outcome(status, "")
    ranks = [f"rank {one.rank} on {one.host} had an error" for one in reports if one.status][:3]
    why = ranks or [f"the launcher ended with status {returncode}"]
    if returncode in KILLED:
        why.append("a process was ended by SIGKILL: if nobody sent it, the machine had too little memory")
    return Outcome(1 if ranks else returncode, ", ".join(why))


def end(child: "subprocess.Popen[bytes]") -> None:
    """End a launcher and everything in its session."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@contextmanager
def heard(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on SIGTERM and SIGINT."""

    def handler(number: int, frame: FrameType | None) -> None:
        stop()

    before: dict[int, Any] = {
        number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, one)
