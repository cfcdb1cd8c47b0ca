"""What the processes of a training are told, and how they end together."""

import signal
import subprocess
import sys
import time
from pathlib import Path

RANK = """
import os, pathlib, signal, sys, time
here = pathlib.Path(sys.argv[1])
rank = int(os.environ["RANK"])
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_SIZE", "MASTER_ADDR", "MASTER_PORT")
place = [os.environ[name] for name in names]
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit((here / f"left-{rank}").write_text("") and 0))
(here / f"rank-{rank}").write_text(" ".join(place))
while not all((here / f"rank-{other}").exists() for other in range(2)):
    time.sleep(0.01)
how = sys.argv[2] if rank == 1 else sys.argv[3]
if how == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if how.isdigit():
    sys.exit(int(how))
while True:
    time.sleep(0.01)
"""


def start(folder: Path, first: str, other: str) -> "subprocess.Popen[bytes]":
    script = folder / "rank.py"
    script.write_text(RANK)
    command = [sys.executable, "-m", "launch.processes", "2", "4711", str(script), str(folder), other, first]
    return subprocess.Popen(command)


def test_each_is_told_its_place_and_all_end_in_order(tmp_path: Path) -> None:
    assert start(tmp_path, "0", "0").wait(600) == 0
    told = [(tmp_path / f"rank-{rank}").read_text() for rank in range(2)]
    assert told == ["0 0 2 2 127.0.0.1 4711", "1 1 2 2 127.0.0.1 4711"]


def test_the_first_that_fails_gives_the_status_and_the_others_are_asked_to_leave(tmp_path: Path) -> None:
    assert start(tmp_path, "waits", "3").wait(600) == 3
    assert (tmp_path / "left-0").exists()


def test_one_that_is_killed(tmp_path: Path) -> None:
    assert start(tmp_path, "waits", "killed").wait(600) == 128 + signal.SIGKILL
    assert (tmp_path / "left-0").exists()


def test_sigterm_is_passed_on_and_waited_for(tmp_path: Path) -> None:
    process = start(tmp_path, "waits", "waits")
    while not all((tmp_path / f"rank-{rank}").exists() for rank in range(2)):
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    assert process.wait(600) == 0
    assert all((tmp_path / f"left-{rank}").exists() for rank in range(2))
