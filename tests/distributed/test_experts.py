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
from tests.distributed import toy
from tests.distributed.processes import run_world

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


@pytest.mark.parametrize("before", [{"tensor": 2}, {"experts": 2}, {"zero_stage": 0, "experts": 2}, {}])
def test_checkpoints_go_on_where_experts_are_cut_otherwise(before: dict[str, Any], tmp_path: Path) -> None:
    """From two ranks with a half of the experts each to one with all, and from two with all to two halves."""
    uninterrupted = run_world(2, toy.train, toy.config(toy.MOE, **before), tmp_path, False, 3)[0]
    after = [toy.config(toy.MOE)] if before else [toy.config(toy.MOE, experts=2)]
    [one] = run_world(1 if before else 2, toy.train_each, after, tmp_path)[0]
    toy.assert_follows(one, uninterrupted[6:])


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
