"""The processes of a training on this machine, as the supervisor starts them:

    python -m launch.processes COUNT PORT launch/train.py ARGUMENTS...

Each finds its place in the variables that DeepSpeed's launcher sets on a host. That launcher would load all
of DeepSpeed first, and look for the end of a process once in a second. The status is that of the first one
that fails, and the others do not outlive it.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import FrameType

from data_prep.contract.family import die_with_parent

LOOPBACK = "lo"
"""The interface that processes of one machine listen on, where no variable names another."""
LONGEST_END = 30.0
"""Seconds in which the processes that are left may save and leave when one has failed."""
Process = subprocess.Popen[bytes]


def environment(rank: int, count: int, port: int) -> dict[str, str]:
    """What tells a process its place."""
    place = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": count,
        "LOCAL_SIZE": count,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    return {"GLOO_SOCKET_IFNAME": LOOPBACK} | os.environ | {name: str(value) for name, value in place.items()}


def first_failure(processes: list[Process]) -> int:
    """Wait until all have ended in order, which is 0, or one has not: its status."""
    left = {process.pid: process for process in processes}
    while left:
        number, raw = os.wait()
        status = os.waitstatus_to_exitcode(raw)
        if process := left.pop(number, None):
            process.returncode = status
        if process and status:
            return status if status > 0 else 128 - status
    return 0


def end(processes: list[Process]) -> None:
    """Ask those that still run to leave, and kill whatever has not done so in time."""
    tell(processes)
    last = time.monotonic() + LONGEST_END
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, last - time.monotonic()))
        if process.poll() is None:
            process.kill()


def tell(processes: list[Process]) -> None:
    """SIGTERM to those that are not known to have ended; which ones have, is found out elsewhere."""
    for process in processes:
        if process.returncode is None:
            os.kill(process.pid, signal.SIGTERM)


def main() -> None:
    """Start, wait, end."""
    count, port = int(sys.argv[1]), int(sys.argv[2])
    command = [sys.executable, "-u", *sys.argv[3:]]
    processes = [
        subprocess.Popen(command, env=environment(rank, count, port), preexec_fn=die_with_parent)
        for rank in range(count)
    ]

    def pass_on(number: int, frame: FrameType | None) -> None:
        tell(processes)

    signal.signal(signal.SIGTERM, pass_on)
    status = first_failure(processes)
    if status:
        end(processes)
    sys.exit(status)


if __name__ == "__main__":
    main()
