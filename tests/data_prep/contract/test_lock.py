"""The lock of a stage's folder, taken by processes that live, die and are killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from data_prep.contract.lock import locked, reading
from data_prep.contract.settings import InputError

HOLDER = """
import sys, time
from pathlib import Path
from data_prep.contract.lock import locked
with locked(Path(sys.argv[1]), "preparing"):
    print("held", flush=True)
    time.sleep(3600)
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder's lock."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_told_who_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    with holder(folder) as other:
        begin = time.monotonic()
        with pytest.raises(InputError) as refused, locked(folder, "training", patience=0.3):
            pytest.fail("two were inside")
        assert time.monotonic() - begin >= 0.3
    expected = f"{folder}: process {other.pid} on {socket.gethostname()} is preparing here"
    assert str(refused.value) == f"{expected}; wait for it or end it"


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_dead_process_left_behind_blocks_nobody(tmp_path: Path, sent: signal.Signals) -> None:
    folder = tmp_path / "dataset"
    with holder(folder) as other:
        other.send_signal(sent)
        other.wait()
        assert str(other.pid) in (tmp_path / ".dataset.lock").read_text()
        with locked(folder, "preparing", patience=0):
            assert f'"pid": {os.getpid()},' in (tmp_path / ".dataset.lock").read_text()


def test_one_that_is_about_to_leave_is_waited_for(tmp_path: Path) -> None:
    with holder(tmp_path / "dataset") as other:
        subprocess.Popen(["sh", "-c", f"sleep 0.5; kill {other.pid}"])
        with locked(tmp_path / "dataset", "preparing", patience=300):
            assert other.poll() is not None or other.wait(300)


def test_folders_have_locks_of_their_own_and_give_them_back(tmp_path: Path) -> None:
    with locked(tmp_path / "one", "preparing"), locked(tmp_path / "two", "preparing", patience=0):
        pass
    with locked(tmp_path / "one", "preparing", patience=0):
        assert not (tmp_path / "one").exists()


@pytest.mark.parametrize("junk", ["", "{", "[1]", '{"pid": 1}', "\udcff"])
def test_a_file_that_says_nothing_of_its_holder_still_locks(tmp_path: Path, junk: str) -> None:
    with holder(tmp_path / "dataset"):
        (tmp_path / ".dataset.lock").write_bytes(os.fsencode(junk))
        with (
            pytest.raises(InputError, match="dataset: another process is at work here"),
            locked(tmp_path / "dataset", "preparing", patience=0),
        ):
            pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "dataset", Path("/proc/nowhere/dataset")):
        with pytest.raises(InputError, match=f"{place}: nothing can be written there"), locked(place, "x"):
            pass


def test_readers_share_a_folder_that_nobody_may_make_anew_meanwhile(tmp_path: Path) -> None:
    folder, link = tmp_path / "dataset", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    with reading(folder, "training on what is"), reading(link, "evaluating on what is"):
        match = rf"process {os.getpid()} on .* is evaluating on what is here"
        for name in (folder, link):
            with pytest.raises(InputError, match=match), locked(name, "preparing", patience=0.2):
                pass
    with locked(folder, "preparing", patience=0.2):
        pass


def test_what_is_being_made_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.contract.lock.PATIENCE", 0.2)
    told = pytest.raises(InputError, match="is preparing here")
    with holder(tmp_path / "dataset"), told, reading(tmp_path / "dataset", "training on what is"):
        pass
