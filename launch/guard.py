"""Runs a command that ends when this process's stdin does, with all that it has started.

    python -m launch.guard COMMAND [ARGUMENT]...

Whoever starts it holds the other end of stdin: however that process ends, the pipe closes. For commands such
as a server's that start workers of their own, which `die_with_parent` would not reach.
"""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

PATIENCE = 3.0
"""Seconds that the command has after SIGTERM."""


def main() -> int:
    """Start the command; returns its status once it has ended or was ended."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    while child.poll() is None:
        ready, _, _ = select.select([sys.stdin], [], [], 0.2)
        if ready and not os.read(sys.stdin.fileno(), 1):
            break
    end(child)
    return child.returncode


def end(child: "subprocess.Popen[bytes]") -> None:
    """End a command and everything in its session."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE)
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


if __name__ == "__main__":
    sys.exit(main())
