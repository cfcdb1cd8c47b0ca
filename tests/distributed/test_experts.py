"""Experts over one and two ranks, beside pipeline stages, data parallelism and ZeRO, follow one process.

Their losses weigh so much here that one counted twice, or lost between stages, would show. Checkpoints go on
where experts are cut otherwise. Tolerances are `toy.assert_follows`'s.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from data_prep.contract.settings import InputError
from pipeline.distributed import world
from tests.distributed import toy
from tests.distributed.processes import leave_groups, run_world

Layout = tuple[str, dict[str, Any]]
LAYOUTS: dict[int, list[Layout]] = {
    2: [
        ("mixture", {"tensor": 2, "sequence": True}),
        ("mixture", {"pipeline": 2, "zero_stage": 0}),
        ("mixture", {"zero_stage": 3}),
        ("mixture", {"recompute": "full"}),
        ("switch", {"pipeline": 2}),
        ("mixture", {"experts": 2}),
        ("mixture", {"experts": 2, "zero_stage": 0, "recompute": "full"}),
        ("switch", {"experts": 2, "zero_stage": 2}),
    ],
    4: [
        ("mixture", {"tensor": 2, "pipeline": 2}),
        ("mixture", {"tensor": 2, "zero_stage": 2}),
        ("switch", {"tensor": 2, "sequence": True}),
        ("mixture", {"experts": 2}),
        ("mixture", {"experts": 2, "zero_stage": 0}),
        ("mixture", {"experts": 2, "pipeline": 2}),
        ("switch", {"experts": 2, "tensor": 2}),
    ],
}
"""An encoder-decoder that drops tokens counts its capacity along whole sequences; `experts` are shared by
data-parallel ranks."""
MODELS = {"mixture": toy.MOE, "switch": toy.SWITCH}


@cache
def alone() -> dict[str, list[float]]:
    """What one process computes."""
    given = [toy.config(model, zero_stage=0) for model in MODELS.values()]
    return dict(zip(MODELS, run_world(1, toy.train_each, given)[0], strict=True))


@pytest.mark.parametrize("processes", LAYOUTS)
def test_layouts_follow_one_process(processes: int) -> None:
    layouts = LAYOUTS[processes]
    given = [toy.config(MODELS[name], **layout) for name, layout in layouts]
    for result in run_world(processes, toy.train_each, given):
        for (name, layout), found in zip(layouts, result, strict=True):
            toy.assert_follows(found, alone()[name], f"{name} {layout}")


Call = tuple[dict[str, Any], Path, bool]
"""A layout, the run's folder, and whether it goes on from the checkpoint there or writes that of step 3."""


def train_calls(calls: list[Call]) -> list[list[float]]:
    """In each process: one training after the other, in one world."""
    found = []
    for layout, run, goes_on in calls:
        found.append(toy.train_on(toy.config(toy.MOE, **layout), run, goes_on, 0 if goes_on else 3))
        leave_groups()
    world.stop()
    return found


def test_checkpoints_go_on_where_experts_are_cut_otherwise(tmp_path: Path) -> None:
    """From two ranks with a half of the experts each to one with all, and from two with all to two halves."""
    before = [{"tensor": 2}, {"experts": 2}, {"zero_stage": 0, "experts": 2}, {}]
    folders = [tmp_path / str(number) for number in range(len(before))]
    calls: list[Call] = [(layout, run, False) for layout, run in zip(before, folders, strict=True)]
    *uninterrupted, halves = run_world(2, train_calls, [*calls, ({"experts": 2}, folders[3], True)])[0]
    whole = run_world(1, train_calls, [({}, run, True) for run in folders[:3]])[0]
    for found, wanted in zip([*whole, halves], uninterrupted, strict=True):
        toy.assert_follows(found, wanted[6:])


WRONG: dict[str, dict[str, Any]] = {
    "do not go with zero_stage 3": {"experts": 2, "zero_stage": 3},
    "is not divisible by parallel.tensor x parallel.experts, 4": {"experts": 4},
    "needs optimizer adamw": {"experts": 2, "train": {"optimizer": "muon"}},
}


@pytest.mark.parametrize("problem", WRONG)
def test_what_does_not_go_with_shared_experts_is_refused(problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        toy.config(toy.MOE, **WRONG[problem])
    with pytest.raises(ValidationError, match=r"shares model.experts, and there are none"):
        toy.config(toy.GPT, experts=2)
    with pytest.raises(InputError, match="3 of these is not divisible"):
        toy.config(toy.MOE, experts=2).parallel.data_size(3)


def test_the_loss_of_the_experts_is_part_of_the_loss() -> None:
    """And of no evaluation: the first loss is more by about it, the balanced one being its least."""
    silent = toy.MOE | {"experts": {"count": 6, "active": 2, "balance": 0.0}}
    plain = run_world(1, toy.train, toy.config(silent, zero_stage=0))[0]
    assert alone()["mixture"][0] - plain[0] > 3 * 0.5
