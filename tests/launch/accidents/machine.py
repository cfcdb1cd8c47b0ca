"""What a machine does to a run: memory, disks, clocks, ports, rights."""

import os
import socket
import subprocess
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from pipeline.tracking import metrics
from tests.distributed.kills import series
from tests.launch.accidents.made import MissingError, Run, expect, filled, fresh, small_disk

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
NOBODY = 65534


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
