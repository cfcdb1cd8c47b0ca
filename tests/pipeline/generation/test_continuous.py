"""Continuous batching: requests that come and go get what they would get alone, in every family of models.

In float64, where what a sum owes to the number of rows beside it changes no draw.
"""

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from pipeline.generation.continuous import Request, RunningBatch
from pipeline.generation.load import LoadedModel
from pipeline.generation.sampling import Sampling, generate
from tests.pipeline.generation.models import BOTH, DECODERS, LONGEST, prompts, random_model

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: ("causal_lm", shape) for name, shape in DECODERS.items()},
    "prefix": ("prefix_lm", {}),
    "t5": ("span_corruption", BOTH["t5"]),
    "bart": ("denoising", BOTH["bart"]),
}
MOST = 12


def double(name: str) -> LoadedModel:
    kind, shape = MODELS[name]
    model = random_model(kind, **shape)
    model.module.double()
    return model


def alone(model: LoadedModel, request: Request) -> list[int]:
    """What `generate` makes of a request, behind so many equal ones."""
    given = [request.prompt] * (request.before + 1)
    return generate(model, given, request.max_tokens, request.sampling, request.stop_ids)[-1]


def requests(count: int, longest: int, seed: int) -> list[Request]:
    choose = random.Random(seed)
    found = []
    for prompt in prompts(*(choose.randint(1, longest) for _ in range(count))):
        how = choose.choice([Sampling(0.0), Sampling(1.0), Sampling(0.8, 20), Sampling(1.2, 0, 0.9)])
        sampling = replace(how, seed=choose.randint(0, 9))
        stops = frozenset(range(choose.choice([4, 60])))
        found.append(Request(tuple(prompt), choose.randint(1, MOST), sampling, stops))
    return [*found, replace(found[0], before=1), replace(found[0], before=2)]


def run(
    batch: RunningBatch[int], waiting: list[Request], slots: int, leaving: dict[int, int]
) -> dict[int, list[int]]:
    """The answers, where one that waits takes the place of one that ends; some leave after so many ids."""
    found: dict[int, list[int]] = {number: [] for number in range(len(waiting))}
    queue = list(enumerate(waiting))
    while queue or len(batch):
        while queue and len(batch) < slots:
            batch.join(*queue.pop(0))
        for number, drawn in batch.step().items():
            if drawn.token is not None:
                found[number].append(drawn.token)
            if len(found[number]) == leaving.get(number) and drawn.end is None:
                batch.leave(number)
    return found


@pytest.mark.parametrize("family", MODELS)
def test_each_gets_what_it_gets_alone_whoever_comes_and_goes(family: str) -> None:
    model, asked = double(family), requests(8, 9, seed=3)
    leaving = {2: 1, 5: 3}
    found = run(RunningBatch(model), asked, 3, leaving)
    for number, request in enumerate(asked):
        expected = alone(model, request)
        assert found[number] == expected[: leaving.get(number, len(expected))]
    assert len({tuple(answer) for answer in found.values()}) > 5


@pytest.mark.parametrize("family", ["gpt2", "prefix"])
def test_windows_move_row_by_row(family: str) -> None:
    model = double(family)
    asked = [
        Request(tuple(prompt), tokens, Sampling(seed=number))
        for number, (prompt, tokens) in enumerate(
            zip(prompts(1, LONGEST - 3, LONGEST, LONGEST + 25, 30), (70, 50, 9, 30, 100), strict=True)
        )
    ]
    found = run(RunningBatch(model), asked, 4, {})
    assert found == {number: alone(model, request) for number, request in enumerate(asked)}
    assert [len(answer) for answer in found.values()] == [70, 50, 9, 30, 100]


def test_log_probabilities_are_those_of_a_forward_pass() -> None:
    model = double("llama")
    [prompt, other] = prompts(5, 11)
    batch: RunningBatch[str] = RunningBatch(model)
    batch.join("other", Request(tuple(other), 8, Sampling(seed=1)))
    batch.step()
    batch.join("told", Request(tuple(prompt), 6, Sampling(0.7, 3, seed=2), likeliest=2))
    row = list(prompt)
    for step in range(6):
        drawn = batch.step()["told"]
        with torch.inference_mode():
            logs = model.module({"tokens": torch.tensor([row])})["logits"][-1, 0].log_softmax(0)
        assert drawn.token is not None
        assert drawn.log == pytest.approx(float(logs[drawn.token]), abs=1e-5)
        assert [token for token, _ in drawn.likeliest] == logs.topk(2).indices.tolist()
        assert [log for _, log in drawn.likeliest] == pytest.approx(logs.topk(2).values.tolist(), abs=1e-5)
        assert (drawn.end == "length") == (step == 5)
        row.append(drawn.token)


def test_a_batch_of_nobody_gives_nothing_and_who_left_is_not_missed() -> None:
    batch: RunningBatch[int] = RunningBatch(double("gpt2"))
    assert batch.step() == {}
    batch.join(1, Request((5,), 9))
    batch.leave(1)
    batch.leave(7)
    assert (len(batch), batch.step()) == (0, {})
