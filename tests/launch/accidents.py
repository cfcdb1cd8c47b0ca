"""Accidents that happen to a run on one machine, each made to happen: what is said, the status, what is left.

    python -m tests.launch.accidents [NAME ...]

Each accident has a work folder of its own with a dataset of made-up sentences, a small model, and the command
that a user would type. Some need the right to mount a file system, to make a control group or to be another
user (root), one a C compiler; where it is missing, the accident is skipped and says why. Exits with 1 where
one ends otherwise than it should.
"""

import argparse
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psutil

from pipeline.health.stopping import RESUME
from pipeline.tracking import metrics
from tests.distributed.kills import ENVIRONMENT, dataset, series
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
CLOCK = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long offset(void) {
  long seconds = 0;
  FILE *file = fopen(getenv("CLOCK_OFFSET"), "r");
  if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
  return seconds;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
  int status = syscall(SYS_clock_gettime, clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += offset();
  return status;
}
time_t time(time_t *seconds) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (seconds) *seconds = now.tv_sec;
  return now.tv_sec;
}
int gettimeofday(struct timeval *now, void *zone) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  now->tv_sec = exact.tv_sec; now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}
"""
"""A wall clock with an offset that is read from a file; clocks that measure a time are left alone."""
MEGABYTE = 2**20
PATIENCE = 600.0
NOBODY = 65534


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


def killed_for_memory(run: Run) -> str:
    """The kernel kills a rank in a control group that has too little memory."""
    group = Path("/sys/fs/cgroup/memory") / f"bloomery-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise MissingError(f"no memory control group: {error}") from None
    try:
        (group / "memory.limit_in_bytes").write_text(str(450 * MEGABYTE))
        enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'
        run.before = ("sh", "-c", enter, "sh")
        status = run.do("train")
        killed = "".join((group / "memory.oom_control").read_text().splitlines()[-1:])
        expect(status not in (0, 2), "a kill is neither success nor bad input")
        expect("memory" in run.said(), "it says that memory may be the reason")
        return f"status {status}; the kernel counts {killed}"
    finally:
        run.before = ()
        end = time.monotonic() + 30
        while group.exists() and time.monotonic() < end:
            with suppress(OSError):
                group.rmdir()
            time.sleep(0.1)


def little_shared_memory(run: Run) -> str:
    """/dev/shm of 64 kilobytes, as containers have it."""
    run.before = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"', "sh")
    if subprocess.run([*run.before, "true"], capture_output=True).returncode:
        raise MissingError("no right to mount")
    status = run.do("train", "--set", "data.workers=2")
    expect(status == 0, f"training needs no shared memory:\n{run.said()}")
    return f"status {status}"


def clock_set_back(run: Run) -> str:
    """The clock goes back by two days between two steps, and stays there."""
    library, offset = run.place / "clock.so", run.place / "offset"
    (run.place / "clock.c").write_text(CLOCK)
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(run.place / "clock.c")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingError(f"no compiler for a clock of its own: {error}") from None
    offset.write_text("0")
    run.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(offset)}
    run.start(*run.command("train"))
    run.reach(25)
    offset.write_text("-172800")
    expect(run.finish() == 0, run.said())
    expect(run.do("eval") == 0, run.said())
    times = [line["time"] for line in metrics.read(run.work / "pretrain" / metrics.METRICS)]
    back = [one - two for one, two in pairwise(times) if one - two > 86_400]
    expect(len(back) == 1, "the clock did go back")
    calm = Run(fresh(run.place / "calm"))
    expect(calm.do("train") == 0, calm.said())
    expect(series(calm.work) == series(run.work), "the losses are those of a run with a steady clock")
    return "trained, evaluated and reported; losses as with a steady clock"


def two_commands(run: Run) -> str:
    """`tune` and a second `train` while `train` is at work in the same folder."""
    run.start(*run.command("train"))
    run.reach(5)
    second, third = Run(run.place), Run(run.place)
    told = {}
    for name, other in (("train", second), ("tune", third)):
        told[name] = other.do(name)
    expect(run.finish() == 0, run.said())
    expect(told["train"] == 2, f"the second train ends with 2, not {told['train']}:\n{run.said()}")
    expect(told["tune"] in (0, 2), run.said())
    expect(len(series(run.work)) == 60, "the first training has all its steps")
    return (
        f"status of the second train {told['train']}, of tune {told['tune']}; the first ends with all steps"
    )


def ctrl_c_in_training(run: Run) -> str:
    """Ctrl-C reaches the whole group, as in a terminal; the same command goes on."""
    run.start(*run.command("train"))
    run.reach(15)
    assert run.process is not None
    os.killpg(run.process.pid, signal.SIGINT)
    status = run.finish()
    expect(status in (130, RESUME), f"status {status}:\n{run.said()}")
    expect(not run.left(), f"processes are left: {run.left()}")
    expect("Traceback" not in run.log.read_text(), run.said(40))
    expect(run.do("train") == 0, run.said())
    return f"status {status}, no process left, the same command goes on to its end"


def ctrl_c_in_evaluation(run: Run) -> str:
    """The same while questions are asked."""
    expect(run.do("train") == 0, run.said())
    run.start(*run.command("eval"))
    run.wait(lambda: "eval: unigram" in run.log.read_text())
    assert run.process is not None
    os.killpg(run.process.pid, signal.SIGINT)
    status = run.finish()
    expect(status in (130, RESUME), f"status {status}:\n{run.said()}")
    expect(not run.left(), f"processes are left: {run.left()}")
    expect("Traceback" not in run.log.read_text(), run.said(40))
    expect(run.do("eval") == 0, run.said())
    return f"status {status}, no process left, the same command goes on to its end"


def disk_full_in_evaluation(run: Run) -> str:
    """No room for what an evaluation writes; then there is."""
    run.work.rename(run.place / "kept")
    with small_disk(run.work, 64 * 1024):
        (run.work / "dataset").symlink_to((run.place / "kept" / "dataset").readlink())
        expect(run.do("train") == 0, run.said())
        with filled(run.work):
            status = run.do("eval")
            expect(status not in (0, 2) or "No space left" in run.said(), run.said())
            told = run.said(1)
            expect("Traceback" not in run.log.read_text(), run.said(40))
        expect(run.do("eval") == 0, run.said())
        (run.work / "report.html").unlink(missing_ok=True)
        with filled(run.work):
            report = run.do("eval")
            expect("Traceback" not in run.log.read_text(), run.said(40))
        expect(run.do("eval") == 0 and (run.work / "report.html").exists(), run.said())
    return f"evaluation: status {status}, {told!r}; report: status {report}; both are made when there is room"


def port_taken(run: Run) -> str:
    """Something else listens on DeepSpeed's usual port."""
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", 29500))
        except OSError as error:
            raise MissingError(f"port 29500 is taken already: {error}") from None
        other.listen()
        expect(run.do("train") == 0, run.said())
    return "another port is used"


def database_locked(run: Run) -> str:
    """Another program holds MLflow's database for the whole run."""
    database = run.place / "mlflow.db"
    expect(run.do("train", "--set", "train.steps=10") == 0, run.said())
    shutil.rmtree(run.work / "pretrain")
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        status = run.do("train")
        told = [line for line in run.log.read_text().splitlines() if "locked" in line]
    expect(status == 0 and bool(told), run.said())
    expect("Traceback" not in run.log.read_text(), run.said(40))
    return f"trained; said {len(told)} time(s): {told[-1].strip()!r}"


def database_of_another_schema(run: Run) -> str:
    """MLflow's database was made by another version."""
    expect(run.do("train", "--set", "train.steps=10") == 0, run.said())
    shutil.rmtree(run.work / "pretrain")
    with closing(sqlite3.connect(run.place / "mlflow.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'b1f3c2a9d4e5'")
        database.commit()
    status = run.do("train")
    expect("Traceback" not in run.log.read_text(), run.said(40))
    return f"status {status}: {run.said(1)!r}"


def another_user(run: Run) -> str:
    """Somebody with no rights but on the work folder."""
    if os.getuid() != 0:
        raise MissingError("only root can become somebody else")
    for path in [run.place, *run.place.rglob("*")]:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    run.environment = {"HOME": str(run.place)}
    try:
        run.start(*run.command("train"), user=NOBODY)
    except PermissionError as error:
        raise MissingError(f"this Python is for root alone: {error}") from None
    status = run.finish()
    expect(status == 0, run.said())
    return "trained"


def few_file_handles(run: Run) -> str:
    """64 open files a process."""
    run.before = ("sh", "-c", 'ulimit -n 64 && exec "$@"', "sh")
    status = run.do("train")
    expect("Traceback" not in run.log.read_text(), run.said(40))
    expect(status == 0 or "files may be open" in run.said(), run.said())
    return f"status {status}: {run.said(1)!r}"


ACCIDENTS: tuple[Callable[[Run], str], ...] = (
    killed_for_memory,
    little_shared_memory,
    clock_set_back,
    two_commands,
    ctrl_c_in_training,
    ctrl_c_in_evaluation,
    disk_full_in_evaluation,
    port_taken,
    database_locked,
    database_of_another_schema,
    another_user,
    few_file_handles,
)


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


def main() -> None:
    known = {accident.__name__: accident for accident in ACCIDENTS}
    parser = argparse.ArgumentParser(description="accidents, each made to happen")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    chosen = parser.parse_args().names or list(known)
    failed = 0
    for name in chosen:
        if name not in known:
            parser.error(f"no accident is called {name!r}; there are {', '.join(known)}")
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
            Path(temporary).chmod(0o755)
            began = time.monotonic()
            try:
                result = known[name](Run(fresh(Path(temporary) / "place")))
            except MissingError as reason:
                result = f"skipped: {reason}"
            except AssertionError as wrong:
                result, failed = f"WRONG: {wrong}", failed + 1
            print(f"{name:28} {time.monotonic() - began:4.0f} s  {result}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
