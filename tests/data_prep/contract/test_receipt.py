"""Small files are there whole or not at all."""

import errno
import resource
from pathlib import Path

import pytest

from data_prep.contract.receipt import Receipt, read_receipt, write_atomic, write_receipt


def test_a_configuration_is_kept_without_the_secrets_of_its_addresses(tmp_path: Path) -> None:
    config = {"data": {"mixture": [{"dataset": "https://joe:S3CRET@h.test/d?sig=S3CRET"}]}, "steps": 3}
    write_receipt(tmp_path, Receipt(stage="a", fingerprint="f", config=config))
    found = read_receipt(tmp_path)
    assert found is not None
    assert found.config == {
        "data": {"mixture": [{"dataset": "https://joe:***@h.test/d?sig=***"}]},
        "steps": 3,
    }


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
