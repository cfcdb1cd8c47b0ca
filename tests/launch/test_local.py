"""How many processes a training gets on this machine."""

import pytest

from data_prep.contract.settings import InputError
from launch.local import choose_processes
from pipeline.config import OptimizerConfig, ParallelConfig

OPTIM = OptimizerConfig(global_batch=24, micro_batch=4)


@pytest.mark.parametrize(
    ("sizes", "available", "expected"),
    [
        ({}, 1, 1),
        ({}, 2, 2),
        ({}, 4, 3),  # 6 micro batches divide over 3 ranks, not over 4
        ({}, 8, 6),
        ({"tensor": 2}, 8, 6),
        ({"tensor": 2, "pipeline": 2}, 2, 4),
        ({"data": 2}, 1, 2),
    ],
)
def test_open_data_size_takes_what_divides(sizes: dict[str, int], available: int, expected: int) -> None:
    assert choose_processes(ParallelConfig(**sizes), OPTIM, available, exact=True) == expected


def test_more_gpus_than_there_are() -> None:
    with pytest.raises(InputError, match="needs 4 GPUs, this machine has 2"):
        choose_processes(ParallelConfig(tensor=2, data=2), OPTIM, 2, exact=False)
