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
SWITCHED: dict[int, list[dict[str, Any]]] = {2: [{"pipeline": 2}], 4: [{"tensor": 2, "sequence": True}]}
"""Layouts of an encoder-decoder with dropped tokens, whose capacity counts along whole sequences."""
MODELS = {"mixture": toy.MOE, "switch": toy.SWITCH}


@cache
def alone() -> dict[str, list[float]]:
    """What one process computes."""
    given = [toy.config(model, zero_stage=0) for model in MODELS.values()]
    return dict(zip(MODELS, run_world(1, toy.train_each, given)[0], strict=True))


@pytest.mark.parametrize("processes", LAYOUTS)
def test_layouts_follow_one_process(processes: int) -> None:
    layouts = [("mixture", one) for one in LAYOUTS[processes]]
    layouts += [("switch", one) for one in SWITCHED[processes]]
    given = [toy.config(MODELS[name], **layout) for name, layout in layouts]
    for result in run_world(processes, toy.train_each, given):
        for (name, layout), found in zip(layouts, result, strict=True):
            toy.assert_follows(found, alone()[name], f"{name} {layout}")


def test_checkpoints_go_on_where_experts_are_cut_otherwise(tmp_path: Path) -> None:
    uninterrupted = run_world(2, toy.train, toy.config(toy.MOE, tensor=2), tmp_path, False, 3)[0]
    [one] = run_world(1, toy.train_each, [toy.config(toy.MOE)], tmp_path)[0]
    toy.assert_follows(one, uninterrupted[6:])


def test_the_loss_of_the_experts_is_part_of_the_loss() -> None:
    """And of no evaluation: the first loss is more by about it, the balanced one being its least."""
    silent = toy.MOE | {"experts": {"count": 6, "active": 2, "balance": 0.0}}
    plain = run_world(1, toy.train, toy.config(silent, zero_stage=0))[0]
    assert alone()["mixture"][0] - plain[0] > 3 * 0.5
