"""Folders that a command writes once: two commands on one name, and what a killed one left."""

import threading
from pathlib import Path

import pytest

from data_prep.contract import lock
from data_prep.contract.settings import InputError
from pipeline.conversion.files import appearing


def test_the_second_of_two_is_told_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    with appearing(tmp_path / "out") as folder:
        (folder / "a").write_text("first")
        with (
            pytest.raises(InputError, match=r"out: process \d+ on .* is writing here"),
            appearing(tmp_path / "out"),
        ):
            pytest.fail("two were inside")
    assert (tmp_path / "out" / "a").read_text() == "first"
    assert [*tmp_path.iterdir()] == [tmp_path / "out"]


def test_one_that_waited_finds_the_name_taken(tmp_path: Path) -> None:
    inside, said = threading.Event(), list[str]()

    def second() -> None:
        inside.set()
        with pytest.raises(InputError) as found, appearing(tmp_path / "out"):
            pytest.fail("the name is taken")
        said.append(str(found.value))

    with appearing(tmp_path / "out") as folder:
        (folder / "a").write_text("first")
        other = threading.Thread(target=second)
        other.start()
        assert inside.wait(60)
    other.join(60)
    assert said == [f"{tmp_path / 'out'}: is there already; name a folder that is not"]
    assert [*tmp_path.iterdir()] == [tmp_path / "out"]


def test_what_a_killed_one_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".out.tmp").mkdir()
    (tmp_path / ".out.tmp" / "junk").write_text("x")
    with appearing(tmp_path / "out") as folder:
        (folder / "a").write_text("whole")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]
    assert [*tmp_path.iterdir()] == [tmp_path / "out"]


def test_one_that_failed_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="x"), appearing(tmp_path / "out"):
        raise RuntimeError("x")
    assert [*tmp_path.iterdir()] == []
