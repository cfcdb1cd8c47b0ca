"""Run an answer with its tests in processes of their own, and end all of them.

The child (`inside`) gets its own namespaces of users, mounts, processes and network where the kernel lets it:
no network, all files read-only but those of an empty folder in memory. Everywhere it has limits of CPU time,
memory, sizes and numbers of files and of processes, no environment and no input, and is killed as a group
when its time is over. It is for answers of models that err or cut corners; it is no wall against an attack on
the kernel.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from pipeline.preferences.sandbox import inside

INSIDE = Path(inside.__file__)
AT_ONCE = 8
"""Programs that run at the same time."""


@dataclass(frozen=True)
class Limits:
    """What one program may take."""

    seconds: int = 5
    """CPU time of each of its processes."""
    wall_seconds: int = 20
    """Until all of it is ended; more than its CPU time, for the machine may be busy."""
    memory_bytes: int = 512 << 20
    file_bytes: int = 1 << 20
    """Of each file; the folder holds 16 times as much."""
    files: int = 32
    """Open at once."""
    processes: int = 8
    """Below its first one at once; without namespaces and rights it may start none."""


GRACE = 10
"""Seconds that the child has to end the program by itself, and to start."""
LIMITS = Limits()
REASONS = {inside.FAILED: "failed", inside.OUT_OF_TIME: "out of time"}


@dataclass(frozen=True)
class Outcome:
    passed: bool
    """Whether the answer and all its tests ran to their end without an error."""
    reason: str
    """"passed", "failed", "beyond a limit" or "out of time"."""


def run_all(programs: Sequence[tuple[str, str]], limits: Limits = LIMITS) -> list[Outcome]:
    """Answers with their tests, several at once."""
    with ThreadPoolExecutor(min(AT_ONCE, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda one: run(one[0], one[1], limits), programs))


def run(answer: str, tests: str, limits: Limits = LIMITS) -> Outcome:
    """Python source of an answer and of the tests behind it."""
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="bloomery-sandbox-") as folder:
        task = {
            "answer": answer,
            "tests": tests,
            "token": token,
            "folder": folder,
            "limits": asdict(limits),
        }
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(INSIDE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.defpath},
            cwd=folder,
            start_new_session=True,
        )
        try:
            said, problems = process.communicate(
                json.dumps(task).encode(), timeout=limits.wall_seconds + GRACE
            )
        except subprocess.TimeoutExpired:
            return Outcome(False, "out of time")
        finally:
            end(process)
    if problems:
        warn_once(problems.decode(errors="replace").strip().splitlines()[-1])
    if process.returncode == 0 and said.decode(errors="replace") == token:
        return Outcome(True, "passed")
    return Outcome(False, REASONS.get(process.returncode, "beyond a limit"))


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the group, the namespace of which ends with its first process, and what it left behind."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@cache
def warn_once(line: str) -> None:
    """Say on standard error what the sandbox lacks."""
    print(f"unit_tests: {line}", file=sys.stderr)
