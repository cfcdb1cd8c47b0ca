"""Fine-tuned models in layouts compute what transformers' classes do on the same weights and batch."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config import TrainConfig
from pipeline.conversion.links import exported
from pipeline.distributed import sharding, world
from pipeline.objectives.model import model_layers
from pipeline.parallel import state
from pipeline.parallel.engine import Engine
from tests.distributed.processes import run_world
from tests.distributed.test_families import Part, whole_gradients
from tests.pipeline import tiny
from tests.pipeline.conversion import task_references as ref

CASES = [
    ("bert", "classification"),
    ("bert", "tagging"),
    ("roberta", "regression"),
    ("bert", "multiple_choice"),
    ("gpt2", "classification"),
    ("llama", "classification"),
    ("t5", "classification"),
]


class Found(NamedTuple):
    """What one rank has."""

    scores: Any
    loss: float
    part: Part


def computed(tokenizer: Path, parallel: dict[str, Any]) -> list[Found]:
    """In each process: scores, and one training step of each case at a learning rate of zero."""
    return [one(name, kind, tokenizer, parallel) for name, kind in CASES]


def one(name: str, kind: str, tokenizer: Path, parallel: dict[str, Any]) -> Found:
    """One case in this process."""
    here = world.start(ref.ref.config(name, **parallel).parallel, 0)
    case = ref.make(name, kind, tokenizer, **parallel)
    rows = len(case.features)
    optim = TrainConfig(steps=1, global_batch=rows, micro_batch=rows, clip_gradient_norm=0.0)
    layers = model_layers(case.config, case.task.vocabulary.size, torch.float32, case.task.head)
    engine = Engine(layers, case.task, here, case.config.parallel, optim, torch.float32, 0)
    wholes = engine.whole_shapes()
    state.restore_weights(engine, lambda path: ref.ref.weight(path, torch.Size(wholes[path]), name))
    outputs = engine.forward([case.batch])
    scores = outputs[0]["scores"].numpy() if outputs else None
    gradients: dict[str, Any] = {}

    def add(path: str, gradient: Tensor) -> None:
        gradients[path] = gradients.get(path, 0.0) + gradient.numpy()

    for path, parameter in engine.parameters.items():
        parameter.register_hook(partial(add, path))
    loss, norm = engine.train_step([case.batch], 0.0)
    cuts = {path: sharding.cut_of(p, here.tensor_size) for path, p in engine.parameters.items()}
    return Found(scores, loss, Part(here.tensor_rank, None, None, gradients, cuts, norm))


@pytest.mark.slow
@pytest.mark.parametrize("parallel", [{"tensor": 2}, {"pipeline": 2}], ids=["tensor2", "pipeline2"])
def test_layouts_equal_transformers(parallel: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = tmp_path / "tokenizer.model"
    tiny.vocabulary(tokenizer)
    ranks = run_world(2, computed, tokenizer, parallel)
    world.start_alone()
    for index, (name, kind) in enumerate(CASES):
        wanted, case = ref.theirs(name, kind, tokenizer), ref.make(name, kind, tokenizer)
        found = [rank[index] for rank in ranks]
        scores = next(rank.scores for rank in found if rank.scores is not None)
        if case.task.form == "tokens":
            real = case.batch["segments"].astype(bool)
            apart = scores.swapaxes(0, 1)[real] - wanted.scores[real]
        else:
            apart = scores - wanted.scores
        assert np.abs(apart).max() < 1e-5 * max(1.0, np.abs(wanted.scores).max()), (name, kind)
        assert [rank.loss for rank in found] == pytest.approx([wanted.loss] * 2, rel=1e-5), (name, kind)
        gradients = whole_gradients([rank.part for rank in found])
        zeros = {path: torch.zeros_like(one) for path, one in case.weights.items()}
        for path, gradient in exported(case.links, lambda path, all=zeros | gradients: all[path]):
            expected = wanted.gradients.get(path, np.zeros(gradient.shape, np.float32))
            difference = np.abs(gradient.numpy() - expected).max()
            assert difference < 1e-4 * max(1e-2, np.abs(expected).max()), (name, kind, path)
