"""Which hosts of a hostfile a training gets."""

import os
from pathlib import Path

import pytest

import launch.hosts
from data_prep.contract.settings import InputError
from launch.hosts import HostsLauncher, choose_slots, read_hostfile
from launch.settings import SuperviseConfig
from launch.supervise import NotReadyError
from pipeline.config import OptimizerConfig, ParallelConfig

OPTIM = OptimizerConfig(global_batch=24, micro_batch=4)


def test_hostfile(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# a comment\nnode1 slots=8\n\nnode2   slots=4  # half of it\n")
    assert read_hostfile(path) == {"node1": 8, "node2": 4}


@pytest.mark.parametrize(
    "line",
    [
        *("node1", "node1 slots=", "node1 slots=0", "node1 gpus=3", "a slots=1\na slots=1", ""),
        *("a slots=" + "9" * 5_000, "a slots=\N{ARABIC-INDIC DIGIT THREE}"),
    ],
)
def test_bad_hostfiles(tmp_path: Path, line: str) -> None:
    path = tmp_path / "hosts"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match="is expected"):
        read_hostfile(path)


def test_hostfiles_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    with pytest.raises(InputError, match="hosts: no such file; a hostfile is expected"):
        read_hostfile(path)
    path.write_bytes(b"node\xff slots=1\n")
    with pytest.raises(InputError, match="hosts: not UTF-8 at byte 4; a hostfile is expected"):
        read_hostfile(path)
    os.mkfifo(tmp_path / "pipe")  # of which a restart would find nothing left
    with pytest.raises(InputError, match="pipe: no regular file; a hostfile is expected"):
        read_hostfile(tmp_path / "pipe")


def test_an_attempt_is_cleaned_up_where_it_ran_though_the_hostfile_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(
        launch.hosts, "ask", lambda hosts, command: asked.append(hosts) or [host != "c" for host in hosts]
    )
    monkeypatch.setattr(launch.hosts, "deepspeed", lambda: "deepspeed")
    monkeypatch.setattr(launch.hosts, "check_places", lambda *places: None)
    (tmp_path / "attempts").mkdir()
    hostfile = tmp_path / "hosts"
    hostfile.write_text("a slots=1\nb slots=1\nc slots=1\n")
    launcher = HostsLauncher(
        [], hostfile, tmp_path / "attempts", ParallelConfig(), OPTIM, SuperviseConfig(), lambda line: None
    )
    launcher.command("0-0", [])
    hostfile.unlink()
    launcher.clean("0-0")
    assert asked == [["a", "b", "c"], ["a", "b"]]


@pytest.mark.parametrize(
    ("there", "sizes", "full", "expected"),
    [
        ({"a": 4, "b": 4}, {}, True, {"a": 4, "b": 2}),  # 6 micro batches divide over 6 ranks, not over 8
        ({"a": 4}, {}, False, {"a": 3}),
        ({"a": 2, "b": 2, "c": 2}, {"tensor": 2, "data": 3}, True, {"a": 2, "b": 2, "c": 2}),
        ({"a": 2, "c": 2}, {"tensor": 2, "data": 3}, False, {"a": 2, "c": 2}),
        ({"a": 1, "c": 1}, {"tensor": 2, "data": 3}, False, {"a": 1, "c": 1}),
    ],
)
def test_slots(there: dict[str, int], sizes: dict[str, int], full: bool, expected: dict[str, int]) -> None:
    assert choose_slots(there, ParallelConfig(**sizes), OPTIM, full) == expected


def test_too_few_slots() -> None:
    with pytest.raises(NotReadyError, match="1 slots, 2 are needed"):
        choose_slots({"a": 1}, ParallelConfig(tensor=2), OPTIM, full=False)
    with pytest.raises(InputError, match="needs more than the 1 slots"):
        choose_slots({"a": 1}, ParallelConfig(tensor=2), OPTIM, full=True)
