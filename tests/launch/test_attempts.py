"""An error that several ranks meet is said by one of them."""

import os
import tempfile
from pathlib import Path

import pytest

from launch.attempts import speaks


def speakers(attempt: Path | None, ranks: int = 6) -> int:
    """How many of these processes, which have one parent as the ranks of a host do, would speak."""
    children = []
    for _ in range(ranks):
        child = os.fork()
        if child == 0:
            os._exit(10 + speaks(attempt))
        children.append(child)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert set(statuses) <= {10, 11}
    return statuses.count(11)


def test_one_rank_of_an_attempt_speaks_and_one_of_the_next(tmp_path: Path) -> None:
    for name in ("0-a", "1-b"):
        (tmp_path / name).mkdir()
        assert speakers(tmp_path / name) == 1


def test_all_speak_where_they_cannot_agree(tmp_path: Path) -> None:
    assert speakers(tmp_path / "retired") == 6


def test_one_rank_of_a_launcher_speaks_where_nobody_supervises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert speakers(None) == 1
    assert speakers(None) == 0, "the same launcher's"
    launcher = os.fork()
    if launcher == 0:
        os._exit(speakers(None))
    assert os.waitstatus_to_exitcode(os.waitpid(launcher, 0)[1]) == 1, "another launcher's"
