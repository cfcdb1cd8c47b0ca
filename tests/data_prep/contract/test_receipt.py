"""Small files are there whole or not at all."""

import errno
import resource
from pathlib import Path

import pytest

from data_prep.contract.receipt import write_atomic


def test_a_full_disk_names_the_file_and_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    write_atomic(path, "before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"receipt\.json") as found:
            write_atomic(path, "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert found.value.errno == errno.EFBIG
    assert [one.name for one in tmp_path.iterdir()] == ["receipt.json"]
    assert path.read_text() == "before"
