"""Experts over one and two ranks, beside pipeline stages, data parallelism and ZeRO, follow one process.

Their losses weigh so much here that one counted twice, or lost between stages, would show. Checkpoints go on
where experts are cut otherwise. Tolerances are `toy.assert_follows`'s.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.distributed import toy
from tests.distributed.processes import run_world

LAYOUTS: dict[int, list[dict[str, Any]]] = {
    2: [
        {"tensor": 2, "sequence": True},
        {"pipeline": 2, "zero_stage": 0},
        {"zero_stage": 3},
        {"recompute": "full"},
    ],
    4: [{"tensor": 2, "pipeline": 2}, {"tensor": 2, "zero_stage": 2}],
}


@cache
def alone() -> list[float]:
    """What one process computes."""
    return run_world(1, toy.train, toy.config(toy.MOE, zero_stage=0))[0]


@pytest.mark.parametrize("processes", LAYOUTS)
def test_layouts_follow_one_process(processes: int) -> None:
    given = [toy.config(toy.MOE, **layout) for layout in LAYOUTS[processes]]
    for result in run_world(processes, toy.train_each, given):
        for layout, found in zip(LAYOUTS[processes], result, strict=True):
            toy.assert_follows(found, alone(), str(layout))


def test_checkpoints_go_on_where_experts_are_cut_otherwise(tmp_path: Path) -> None:
    uninterrupted = run_world(2, toy.train, toy.config(toy.MOE, tensor=2), tmp_path, False, 3)[0]
    [one] = run_world(1, toy.train_each, [toy.config(toy.MOE)], tmp_path)[0]
    toy.assert_follows(one, uninterrupted[6:])


def test_the_loss_of_the_experts_is_part_of_the_loss() -> None:
    """And of no evaluation: the first loss is more by about it, the balanced one being its least."""
    silent = toy.MOE | {"experts": {"count": 6, "active": 2, "balance": 0.0}}
    plain = run_world(1, toy.train, toy.config(silent, zero_stage=0))[0]
    assert alone()[0] - plain[0] > 3 * 0.5
