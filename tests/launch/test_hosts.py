"""Which hosts of a hostfile a training gets."""

from pathlib import Path

import pytest

from data_prep.contract.settings import InputError
from launch.hosts import choose_slots, read_hostfile
from launch.supervise import NotReadyError
from pipeline.config import OptimizerConfig, ParallelConfig

OPTIM = OptimizerConfig(global_batch=24, micro_batch=4)


def test_hostfile(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# a comment\nnode1 slots=8\n\nnode2   slots=4  # half of it\n")
    assert read_hostfile(path) == {"node1": 8, "node2": 4}


@pytest.mark.parametrize(
    "line", ["node1", "node1 slots=", "node1 slots=0", "node1 gpus=3", "a slots=1\na slots=1", ""]
)
def test_bad_hostfiles(tmp_path: Path, line: str) -> None:
    path = tmp_path / "hosts"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match="is expected"):
        read_hostfile(path)


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
