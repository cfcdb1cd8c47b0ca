import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from data_prep.scratch import remove_abandoned, scratch

HOLD = """
from data_prep.scratch import scratch
with scratch() as folder:
    (folder / "copy").write_bytes(bytes(1000))
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def fail(folder: Path) -> None:
    (folder / "file").write_text("x")
    raise KeyError


def test_a_folder_is_gone_afterwards(tmp_path: Path) -> None:
    with pytest.raises(KeyError), scratch() as folder:
        fail(folder)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_task_that_was_killed_is_removed_and_no_other(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    folder = Path(process.stdout.readline().strip())
    assert folder.parent == tmp_path
    with scratch() as mine:
        remove_abandoned(young=0)
        assert (folder / "copy").is_file()
        process.send_signal(signal.SIGKILL)
        process.wait()
        remove_abandoned()  # it is young
        assert (folder / "copy").is_file()
        remove_abandoned(young=0)
        assert not folder.exists()
        assert mine.is_dir()
    process.stdout.close()
