"""Every random state of a process is saved and comes back."""

import random

import numpy as np
import torch

from pipeline.distributed import randomness


def draws() -> list[float]:
    """One number from every generator, and a second normal one where they are drawn in pairs."""
    with randomness.tensor_parallel_fork():
        tracked = float(torch.rand(()))
    return [
        random.random(),
        random.gauss(0, 1),
        float(np.random.rand()),
        float(np.random.randn()),
        float(torch.rand(())),
        tracked,
    ]


def test_states_come_back() -> None:
    randomness.install(seed=3, tensor_rank=0, data_rank=0, pipeline_rank=0)
    draws()  # now the second of a pair of normal numbers waits in two of the generators
    saved = {name: state.clone() for name, state in randomness.states().items()}
    expected = draws()
    assert draws() != expected
    randomness.restore(saved)
    assert draws() == expected


def test_ranks_draw_different_numbers() -> None:
    drawn = []
    for data_rank in (0, 1):
        randomness.install(seed=3, tensor_rank=0, data_rank=data_rank, pipeline_rank=0)
        drawn.append(draws())
    assert all(one != other for one, other in zip(*drawn, strict=True))
