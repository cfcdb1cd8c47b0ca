"""Ends what Ray's raylet leaves behind where a preparation is killed; by itself it ends a minute later.

The raylet dies with the driver, but its agents then try for 60 s to tell the dead cluster of it. A process of
ours hears of the driver's end by a pipe that closes, and kills them.

    python -m data_prep.orphans RAYLET_PID      until its standard input ends
"""

import select
import subprocess
import sys
from contextlib import suppress

import psutil

SECONDS = 1.0
"""Between two looks at what the raylet has started."""


def watch() -> list["subprocess.Popen[bytes]"]:
    """Start a watcher for each raylet that this process started.

    It ends when its input is closed or this process ends; it hears no Ctrl-C and no signal for the group.
    """
    raylets = [child.pid for child in psutil.Process().children() if child.name() == "raylet"]
    commands = ([sys.executable, "-m", "data_prep.orphans", str(pid)] for pid in raylets)
    return [subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) for command in commands]


def main(raylet: int) -> None:
    """Remember the raylet's children until the driver has ended; then kill those that are left."""
    children: set[psutil.Process] = set()
    ended = False
    while not ended:
        with suppress(psutil.Error):
            children.update(psutil.Process(raylet).children())
        ended = bool(select.select([sys.stdin], [], [], SECONDS)[0])
    for child in children:
        with suppress(psutil.Error):  # it has ended; psutil does not take another of its number for it
            child.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]))
