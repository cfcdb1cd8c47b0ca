"""A work folder for each accident, and a command in it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipeline.tracking import metrics
from tests.distributed.kills import ENVIRONMENT, dataset
from tests.pipeline.tiny import write_pairs

RECIPE = """
name: accidents
corpus: {kind: text, paths: [corpus.txt]}
model: {layers: 2, hidden_size: 64, heads: 2}
data: {sequence_length: 32}
parallel: {data: 2}
train: {steps: 60, global_batch: 8, micro_batch: 2, learning_rate: 1.0e-3, validate_every: 20,
        validation_samples: 32, checkpoint_every: 10, log_every: 1000}
tune: {steps: 10, global_batch: 4, micro_batch: 2, data: [pairs.jsonl]}
eval: {questions: 4, validation_tokens: 2048}
supervise: {restarts: 2, backoff_seconds: 0}
"""
PATIENCE = 600.0


class MissingError(Exception):
    """Why an accident cannot be made to happen here."""


@dataclass
class Run:
    """A command in a work folder, and what came of it."""

    place: Path
    environment: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    """What stands before the command, such as `unshare`."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def work(self) -> Path:
        return self.place / "work"

    @property
    def log(self) -> Path:
        return self.place / "log"

    def start(self, *arguments: str, user: int | None = None) -> subprocess.Popen[bytes]:
        command = [*self.before, sys.executable, "-c", "from launch.cli import main; main()", *arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.place,
                stdout=log,
                stderr=log,
                env=ENVIRONMENT
                | {"MLFLOW_TRACKING_URI": f"sqlite:///{self.place}/mlflow.db"}
                | self.environment,
                start_new_session=True,
                user=user,
            )
        return self.process

    def command(self, verb: str, *arguments: str) -> tuple[str, ...]:
        return (verb, "recipe.yaml", "--work", "work", *arguments)

    def finish(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def do(self, verb: str, *arguments: str) -> int:
        """Run a command to its end: its status."""
        self.start(*self.command(verb, *arguments))
        return self.finish()

    def reach(self, step: int) -> None:
        """Wait until the training has taken `step` steps."""
        self.wait(lambda: metrics.newest_step(self.work / "pretrain" / metrics.METRICS) >= step)

    def wait(self, condition: Callable[[], bool]) -> None:
        assert self.process is not None
        end = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"waited in vain:\n{self.said()}")
            time.sleep(0.01)

    def said(self, lines: int = 6) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def left(self) -> list[int]:
        """Processes of its session that are still there."""
        assert self.process is not None
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(what)


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[None]:
    """A file system of its own at `place`."""
    place.mkdir(exist_ok=True)
    size = f"size={kilobytes}k"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        raise MissingError(f"no right to mount: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """A disk with no room left."""
    filler = folder / "filler"
    left = os.statvfs(folder)
    filler.write_bytes(bytes(left.f_bavail * left.f_bsize))
    try:
        yield
    finally:
        filler.unlink()


def fresh(place: Path) -> Path:
    """A place with a recipe, a dataset and some pairs to tune on."""
    made = place / "made"
    made.mkdir(parents=True)
    dataset(made)
    (place / "work").mkdir()
    (place / "work" / "dataset").symlink_to(made)
    (place / "recipe.yaml").write_text(RECIPE)
    (place / "corpus.txt").write_text("The corpus was prepared before.\n")
    write_pairs(place / "pairs.jsonl", 40)
    return place
