"""Every layout computes what one process computes: losses, gradient norms and the held-out loss after eight
clipped steps, to the tolerance of `toy.assert_follows`."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.distributed import toy
from tests.distributed.processes import run_world

MODELS: dict[str, dict[str, Any]] = {"gpt": toy.GPT, "llama": toy.LLAMA}


@cache
def alone(model: str, documents: bool = False) -> list[float]:
    """What one process computes."""
    return run_world(1, toy.train, toy.config(MODELS[model], zero_stage=0), None, False, 0, documents)[0]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("tensor", "pipeline", "data", "zero_stage"),
    [
        (1, 1, 1, 1),
        (1, 1, 2, 0),
        (1, 1, 2, 1),
        (1, 1, 2, 2),
        (1, 1, 2, 3),
        (2, 1, 1, 1),
        (1, 2, 1, 0),
        (1, 2, 1, 1),
        (1, 3, 1, 1),
        (2, 2, 1, 1),
        (2, 1, 2, 3),
    ],
)
def test_layout_equals_one_process(
    model: str, tensor: int, pipeline: int, data: int, zero_stage: int
) -> None:
    given = toy.config(MODELS[model], tensor, pipeline, zero_stage)
    results = run_world(tensor * pipeline * data, toy.train, given)
    for result in results:
        toy.assert_follows(result, alone(model))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("tensor", "pipeline"), [(2, 1), (1, 2)])
def test_attention_inside_documents_in_layouts(model: str, tensor: int, pipeline: int) -> None:
    given = toy.config(MODELS[model], tensor, pipeline)
    result = run_world(tensor * pipeline, toy.train, given, None, False, 0, True)[0]
    toy.assert_follows(result, alone(model, documents=True))
    assert not np.allclose(result, alone(model), rtol=1e-3), "the segments must matter"


def test_training_learns() -> None:
    losses = alone("gpt")[0:-1:2]
    assert losses[-1] < losses[0] - 0.1
