"""The processes of a preparation: where they listen, and that none of them outlives it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

PROGRAM = """
import os, re, sys
from pathlib import Path
from data_prep.cluster import Cluster
from data_prep.parts import Part
from data_prep.storage import Storage

def stuck(output):
    from data_prep.collect import EXTRACTOR
    EXTRACTOR.extract(b"<html><body><p>A page with some text.</p></body></html>", "", "resiliparse", 10.0)
    (output.parent / "begun").write_text("")
    re.match("(a+)+$", "a" * 64 + "b")  # for years, in which no other thread of the worker is heard

if __name__ == "__main__":
    with Cluster(1) as cluster:
        list(cluster.execute("stuck", stuck, [Part("stuck", "one", Storage(Path(sys.argv[1])))]))
"""
LOOPBACK = re.compile(r"(127\.0\.0\.1|\[::1\]|\[::ffff:127\.0\.0\.1\]):\d+")


def stuck_preparation(folder: Path) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    """A driver whose only worker is inside a pattern that does not end, and all the processes below it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    driver = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], env=environment)
    while not (folder / "parts" / "stuck" / "begun").exists():
        assert driver.poll() is None
        time.sleep(0.1)
    return driver, psutil.Process(driver.pid).children(recursive=True)


def line_of(process: psutil.Process) -> list[str]:
    """How a process was started; empty where it has ended, as Ray's own helpers do at any time."""
    try:
        return [] if process.status() == psutil.STATUS_ZOMBIE else process.cmdline()
    except psutil.Error:
        return []


def listening(pids: set[int]) -> set[str]:
    """The addresses that these processes listen on."""
    lines = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[3] for line in lines if {*map(int, re.findall(r"pid=(\d+)", line))} & pids}


SENT = [
    signal.SIGKILL,
    *(pytest.param(one, marks=pytest.mark.slow) for one in (signal.SIGTERM, signal.SIGINT)),
]
"""To the driver; Ray takes some ten seconds of a core to start for each."""


@pytest.mark.parametrize("sent", SENT)
def test_all_processes_listen_on_loopback_alone_and_end_with_the_driver(
    tmp_path: Path, sent: signal.Signals
) -> None:
    driver, family = stuck_preparation(tmp_path)
    try:
        lines = [line_of(process) for process in family]
        assert any("data_prep.extract.worker" in line for line in lines), lines
        if shutil.which("ss"):
            found = listening({driver.pid, *(process.pid for process in family)})
            assert len(found) >= 4  # the GCS, the raylet, the driver and its worker
            assert [address for address in found if not LOOPBACK.fullmatch(address)] == []
        driver.send_signal(sent)
        driver.wait(600)
        _, left = psutil.wait_procs(family, timeout=600)
        assert [line for process in left if (line := line_of(process))] == []
    finally:
        for process in (driver, *family):
            with contextlib.suppress(psutil.Error):
                process.kill()
