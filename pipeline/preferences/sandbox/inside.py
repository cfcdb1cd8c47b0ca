"""The inside of the sandbox: isolates this process, then runs an answer and its tests. A script of `run`'s.

Three processes: the outer waits for the keeper, the keeper is the first of a namespace of its own and ends
all in it, the program runs the answer. Standard library alone; nothing of the project is imported.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import struct
import sys
import time
from pathlib import Path

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
"""Flags of unshare(2)."""
AT_FDCWD, AT_RECURSIVE, READ_ONLY, MOUNT_SETATTR = -100, 0x8000, 1, 442
"""Of mount_setattr(2)."""
DIE_WITH_PARENT, DROP_FROM_BOUNDS, ADOPT_ORPHANS, NO_NEW_PRIVILEGES, LAST_CAPABILITY = 1, 24, 36, 38, 40
"""Options of prctl(2)."""
CAPSET, CAPABILITY_VERSION = 126, 0x20080522
PAUSE = 0.02
"""Seconds between two looks at what runs."""
FAILED, BEYOND, OUT_OF_TIME = 1, 3, 4
"""Exit statuses: the program failed, it went beyond a limit, it took too long by the clock."""

libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Read what to run from standard input, run it, and leave with its status."""
    task = json.load(sys.stdin)
    limits = task["limits"]
    uid, gid = os.getuid(), os.getgid()
    apart = libc.unshare(NEW_USER | NEW_MOUNTS | NEW_IPC | NEW_PIDS | NEW_NET) == 0 and mapped(uid, gid)
    keeper = os.fork()
    if keeper:
        return status_of(os.waitpid(keeper, 0)[1])
    libc.prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    apart = apart and read_only(task["folder"], limits["file_bytes"])
    if not apart:
        print("no namespaces: limits alone", file=sys.stderr, flush=True)
    program = os.fork()
    if program:
        return kept(program, limits)
    run(task, limits, apart)
    return 0


def mapped(uid: int, gid: int) -> bool:
    """Keep the numbers of user and group inside the new namespace."""
    try:
        maps = {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}
        for name, text in maps.items():
            Path(f"/proc/self/{name}").write_text(text)
    except OSError:
        return False
    return True


def read_only(folder: str, size: int) -> bool:
    """Make all that is mounted read-only, with a small folder in memory to write to and an own /proc."""
    attributes = struct.pack("QQQQ", READ_ONLY, 0, 0, 0)
    private = libc.mount(None, b"/", None, 0x44000, None)  # MS_REC | MS_PRIVATE
    changed = libc.syscall(MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, attributes, len(attributes))
    room = f"size={16 * size},mode=700".encode()
    written = libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 6, room)  # MS_NOSUID | MS_NODEV
    own = libc.mount(b"proc", b"/proc", b"proc", 14, None)
    return private == changed == written == own == 0


def kept(program: int, limits: "dict[str, int]") -> int:
    """Wait for the program and end it with all that it started, at its end or that of its limits."""
    libc.prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    end = time.monotonic() + limits["wall_seconds"]
    status = None
    while status is None:
        found, code = os.waitpid(-1, os.WNOHANG)
        if found == program:
            status = status_of(code)
        elif time.monotonic() > end:
            status = OUT_OF_TIME
        elif len(descendants()) > limits["processes"]:
            status = BEYOND
        elif not found:
            time.sleep(PAUSE)
    if os.getpid() == 1:  # all of the namespace, which a loop would not catch up with
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        return status
    while running := descendants():
        for one in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)
    return status


def descendants() -> "list[int]":
    """The processes below this one, as far as /proc shows them."""
    parents: dict[int, list[int]] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(place.name))
    found = parents.get(os.getpid(), [])
    for one in found:
        found.extend(parents.get(one, []))
    return found


def status_of(status: int) -> int:
    """What to leave with after a process that ended so."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else BEYOND


def run(task: "dict[str, object]", limits: "dict[str, int]", apart: bool) -> None:
    """The answer, then its tests in the same names; the token is told when all end without an error."""
    os.chdir(str(task["folder"]))
    os.nice(10)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if apart:
        for capability in range(LAST_CAPABILITY + 1):
            libc.prctl(DROP_FROM_BOUNDS, capability, 0, 0, 0)
        header = struct.pack("Ii", CAPABILITY_VERSION, 0)
        libc.syscall(CAPSET, header, bytes(24))
    told = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for one in (0, 1, 2):
        os.dup2(null, one)
    values = {
        "CPU": limits["seconds"],
        "AS": limits["memory_bytes"],
        "FSIZE": limits["file_bytes"],
        "NOFILE": limits["files"],
        "CORE": 0,
        "NPROC": limits["processes"] if apart else 0,
    }
    for name, value in values.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    try:
        names: dict[str, object] = {"__name__": "answer"}
        exec(compile(str(task["answer"]), "answer.py", "exec"), names)
        exec(compile(str(task["tests"]), "tests.py", "exec"), names)
    except BaseException:
        os._exit(FAILED)
    os.write(told, str(task["token"]).encode())
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
