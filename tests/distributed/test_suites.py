"""Suites put to a model as it learns: the same scores in every layout; the training stays as it is."""

from pathlib import Path
from typing import Any

import pytest
import torch
from megatron.core import parallel_state

from data_prep.contract.dataset import TOKENIZER
from pipeline.distributed import randomness, world
from pipeline.evaluation.during import SuitesDuring
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine
from pipeline.training.job import Job
from tests.distributed import toy
from tests.distributed.processes import run_world
from tests.pipeline import tiny
from tests.pipeline.evaluation.tasks.files import write_task

LAYOUTS = ((2, 1, 1), (1, 2, 1), (1, 1, 3))
"""Tensor and pipeline parallel size and ZeRO stage of two processes."""
MODELS = {"gpt": toy.GPT | {"dropout": 0.1}, "t5": toy.T5}


def write_suite(folder: Path) -> None:
    """A task of losses, one of answers, and one of chains that vote."""
    rows = [{"question": f"{word} the", "text": " ".join(tiny.WORDS)} for word in tiny.WORDS[:7]]
    drawn = {"max_tokens": 10, "temperature": 1.0}
    said: dict[str, Any] = {"choices": None, "answer": "text", "generate": drawn}
    write_task(folder, rows, "read", choices=None, answer="question", score="loss")
    write_task(folder, rows, "said", **said, score="f1", few_shot={"shots": [0, 1]})
    chain = {"way": "direct", "paths": 3, "answer_tokens": 3}
    write_task(folder, rows, "voted", **said, score="exact_match", chain=chain, limit=3)


def scores(folder: Path, layouts: list[tuple[int, int, int]]) -> list[dict[str, float]]:
    """The suite's scores of every model in every layout, of weights as they are drawn."""
    found = []
    for model in MODELS.values():
        for tensor, pipeline, zero in layouts:
            suites = {"suites": [str(folder / "suite")]}
            given = toy.config(model, tensor, pipeline, 0 if model is toy.T5 else zero, train=suites)
            here = world.start(given.parallel, given.seed)
            job = Job("pretrain", folder, given, None, {}, tokenizer=folder / TOKENIZER)
            layers = model_layers(given, job.vocabulary.size, torch.float32)
            objective = objective_of(given.objective)
            engine = Engine(layers, objective, here, given.parallel, given.train, torch.float32, given.seed)
            before = {name: state.clone() for name, state in randomness.states().items()}
            ask = SuitesDuring(job, here, torch.float32, chat=False)
            found.append(ask(engine))
            after = randomness.states()
            assert all(torch.equal(state, after[name]) for name, state in before.items())
            assert not any(parameter.grad is not None for parameter in engine.parameters.values())
            parallel_state.destroy_model_parallel()
    world.stop()
    return found


def test_scores_are_the_same_in_every_layout(tmp_path: Path) -> None:
    """Losses to 1e-5; what is drawn is drawn by the question, whoever asks it."""
    tiny.vocabulary(tmp_path / TOKENIZER)
    write_suite(tmp_path / "suite")
    alone = run_world(1, scores, tmp_path, [(1, 1, 1)])[0]
    ranks = run_world(2, scores, tmp_path, list(LAYOUTS))
    assert ranks[0] == ranks[1]
    assert set(alone[0]) == {
        "suite_suite_read",
        "suite_suite_said",
        "suite_suite_said_1_shots",
        "suite_suite_voted",
    }
    for place in range(len(MODELS)):
        for found in ranks[0][place * len(LAYOUTS) : (place + 1) * len(LAYOUTS)]:
            assert found == pytest.approx(alone[place], rel=1e-5)
    assert alone[0]["suite_suite_said"] > 0
