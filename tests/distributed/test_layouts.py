"""Every layout computes what one process computes: losses, gradient norms and the held-out loss after clipped
steps of a GPT, a BERT and a T5, to the tolerance of `toy.assert_follows`. The slow ones go on to 50 steps."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.distributed import toy
from tests.distributed.processes import run_world

MODELS = {"gpt": toy.GPT, "bert": toy.BERT, "t5": toy.T5}
OTHERS = {"llama": toy.LLAMA, "falcon": toy.FALCON, "bloom": toy.BLOOM, "albert": toy.ALBERT}

LAYOUTS: dict[int, list[dict[str, Any]]] = {
    1: [
        {"zero_stage": 1},
        {"recompute": "selective"},
        {"recompute": "full"},
    ],
    2: [
        {"zero_stage": 0},
        {"zero_stage": 1},
        {"zero_stage": 2},
        {"zero_stage": 3},
        {"zero_stage": 1, "offload": True},
        {"zero_stage": 2, "offload": True},
        {"zero_stage": 3, "offload": True, "recompute": "full"},
        {"tensor": 2},
        {"tensor": 2, "sequence": True, "zero_stage": 0},
        {"pipeline": 2, "zero_stage": 0},
        {"pipeline": 2, "recompute": "full"},
    ],
    3: [{"pipeline": 3}],
    4: [
        {"tensor": 2, "pipeline": 2, "sequence": True, "recompute": "selective"},
        {"tensor": 2, "sequence": True, "zero_stage": 3},
        {"pipeline": 2, "zero_stage": 1},
    ],
}
"""Layouts by the number of processes; data parallelism takes what tensor and pipeline leave."""


@cache
def alone(model: str, documents: bool = False, steps: int = 8) -> list[float]:
    """What one process computes."""
    given = toy.config((MODELS | OTHERS)[model], zero_stage=0, steps=steps)
    return run_world(1, toy.train, given, None, False, 0, documents)[0]


@pytest.mark.parametrize("processes", LAYOUTS)
@pytest.mark.parametrize(
    ("model", "steps"),
    [
        ("gpt", 10),
        ("bert", 10),
        ("t5", 10),
        pytest.param("gpt", 50, marks=pytest.mark.slow),
        pytest.param("bert", 50, marks=pytest.mark.slow),
        pytest.param("t5", 50, marks=pytest.mark.slow),
    ],
)
def test_layouts_follow_one_process(model: str, steps: int, processes: int) -> None:
    layouts = LAYOUTS[processes]
    given = [toy.config(MODELS[model], steps=steps, **layout) for layout in layouts]
    for results in run_world(processes, toy.train_each, given):
        for layout, result in zip(layouts, results, strict=True):
            toy.assert_follows(result, alone(model, steps=steps), str(layout))


@pytest.mark.parametrize("model", OTHERS)
def test_other_families_follow_one_process(model: str) -> None:
    """Grouped and single key and value heads, ALiBi, banded layers, side-by-side branches, gated MLPs.

    One block for all layers has a gradient that is summed over stages and counts once in the norm.
    """
    layouts: list[dict[str, Any]] = [
        {"tensor": 2, "pipeline": 2, "sequence": True},
        {"tensor": 2, "zero_stage": 3},
    ]
    given = [toy.config(OTHERS[model], **layout) for layout in layouts]
    for layout, result in zip(layouts, run_world(4, toy.train_each, given)[0], strict=True):
        toy.assert_follows(result, alone(model), str(layout))


@pytest.mark.parametrize("model", ["gpt", "llama"])
@pytest.mark.parametrize(("tensor", "pipeline"), [(2, 1), (1, 2)])
def test_attention_inside_documents_in_layouts(model: str, tensor: int, pipeline: int) -> None:
    given = toy.config((MODELS | OTHERS)[model], tensor, pipeline)
    result = run_world(tensor * pipeline, toy.train, given, None, False, 0, True)[0]
    toy.assert_follows(result, alone(model, documents=True))
    assert not np.allclose(result, alone(model), rtol=1e-3), "the segments must matter"


def test_compiled_layers_follow() -> None:
    given = toy.config(toy.GPT | {"layers": 1}, compile=True)
    plain = toy.config(toy.GPT | {"layers": 1})
    results = run_world(1, toy.train_each, [plain, given])[0]
    toy.assert_follows(results[1], results[0])


def test_training_learns() -> None:
    losses = alone("gpt")[0:-1:2]
    assert losses[-1] < losses[0] - 0.1
