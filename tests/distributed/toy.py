"""A tiny model and its batches, the same in every layout."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.checkpoints import saving
from pipeline.config import (
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    ParallelConfig,
    PipelineConfig,
    TrainConfig,
)
from pipeline.distributed import world
from pipeline.objectives.batches import Batch
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine
from pipeline.training.lr_schedule import learning_rate
from tests.distributed.processes import leave_groups

VOCABULARY, LENGTH, GLOBAL_BATCH, MICRO_BATCH = 300, 16, 8, 2
OBJECTIVES = {
    "decoder": ObjectiveConfig(),
    "encoder": ObjectiveConfig(kind="masked_lm", sentence_task="next_sentence"),
    "encoder_decoder": ObjectiveConfig(kind="span_corruption"),
}
GPT: dict[str, Any] = {"layers": 3, "hidden_size": 32, "heads": 4}
LLAMA: dict[str, Any] = GPT | {
    "key_value_heads": 2,
    "norm": "rmsnorm",
    "activation": "swiglu",
    "positions": "rope",
    "bias": False,
    "tied_output": False,
}
BERT: dict[str, Any] = GPT | {
    "architecture": "encoder",
    "norm_placement": "post",
    "embedding_norm": True,
    "token_types": 2,
    "activation": "gelu",
}
T5: dict[str, Any] = GPT | {
    "architecture": "encoder_decoder",
    "layers": 2,
    "norm": "rmsnorm",
    "positions": "relative",
    "activation": "geglu",
    "bias": False,
    "scaled_attention": False,
    "initialization": "t5",
    "mimetic": True,
}
GEMMA: dict[str, Any] = LLAMA | {
    "activation": "geglu",
    "qk_norm": "head",
    "norm_offset": True,
    "norm_placement": "both",
    "attention_softcap": 20.0,
    "logit_softcap": 10.0,
    "local_window": 5,
}
ALBERT: dict[str, Any] = BERT | {"shared_layers": True, "word_size": 24, "word_size_of": "embeddings"}
MOE: dict[str, Any] = LLAMA | {"experts": {"count": 6, "active": 2, "balance": 0.5, "z": 0.1}}
SWITCH: dict[str, Any] = T5 | {
    "activation": "relu",
    "experts": {
        **{"count": 4, "active": 1, "normalise": False, "every": 2, "balance": 0.5, "z": 0.1},
        **{"capacity_factor": 1.0, "eval_capacity_factor": 1.0},
    },
}
OLMO: dict[str, Any] = LLAMA | {"qk_norm": "width", "norm_placement": "branch"}
FALCON: dict[str, Any] = GPT | {"key_value_heads": 1, "parallel_block": "one_norm", "positions": "rope"}
BLOOM: dict[str, Any] = GPT | {"positions": "alibi", "embedding_norm": True, "local_window": 5}


def config(
    model: dict[str, Any],
    tensor: int = 1,
    pipeline: int = 1,
    zero_stage: int = 1,
    steps: int = 8,
    train: dict[str, Any] | None = None,
    **parallel: Any,
) -> PipelineConfig:
    """A configuration whose gradients are clipped in every step, so that the norm counts too."""
    common = {"steps": steps, "global_batch": GLOBAL_BATCH, "micro_batch": MICRO_BATCH, "warmup_steps": 2}
    common |= {"learning_rate": 1e-2 if steps == 8 else 2e-3, "clip_gradient_norm": 0.5}
    return PipelineConfig(
        name="toy",
        model=ModelConfig(**model),
        objective=OBJECTIVES[model.get("architecture", "decoder")],
        data=DataConfig(sequence_length=LENGTH),
        parallel=ParallelConfig(tensor=tensor, pipeline=pipeline, zero_stage=zero_stage, **parallel),
        train=TrainConfig(**common | (train or {})),
    )


def global_batch(step: int, documents: bool = False, architecture: str = "decoder") -> Batch:
    """The global batch of a step: random tokens with uneven weights, a few of them zero."""
    rng = np.random.default_rng(step)
    shape = (GLOBAL_BATCH, LENGTH)
    weights = rng.random(shape).astype(np.float32) * (rng.random(shape) > 0.2)
    batch: Batch = {
        "tokens": rng.integers(0, VOCABULARY, shape),
        "targets": rng.integers(0, VOCABULARY, shape),
        "weights": weights.astype(np.float32),
    }
    if architecture == "encoder":
        batch["token_types"] = (np.arange(LENGTH) > 6).astype(np.int64) * np.ones(shape, np.int64)
        batch["next_sentence"] = rng.integers(0, 2, GLOBAL_BATCH)
        batch["next_sentence_weights"] = rng.random(GLOBAL_BATCH).astype(np.float32)
    if architecture == "encoder_decoder":
        batch = {name: array[:, :9] for name, array in batch.items()}
        batch["encoder_tokens"] = rng.integers(0, VOCABULARY, shape)
        padding = rng.integers(0, 4, (GLOBAL_BATCH, 1))
        batch["encoder_segments"] = (np.arange(LENGTH) < LENGTH - padding).astype(np.int32)
    if documents:
        cut = rng.integers(1, LENGTH, (GLOBAL_BATCH, 1))
        batch["segments"] = (np.arange(LENGTH) >= cut).astype(np.int32)
        batch["positions"] = np.arange(LENGTH) - cut * batch["segments"]
    return batch


def share(batch: Batch, here: world.World, accumulation: int) -> list[Batch]:
    """A data-parallel rank's micro batches of a global batch."""
    starts = [(i * here.data_size + here.data_rank) * MICRO_BATCH for i in range(accumulation)]
    return [{name: array[s : s + MICRO_BATCH] for name, array in batch.items()} for s in starts]


def assert_follows(result: list[float], expected: list[float], what: str = "") -> None:
    """Losses agree to 1e-5 relative and gradient norms to 1e-4, or to 1e-6 and 1e-5 where they are near 0.

    Layouts add the same float32 numbers in different orders, which moves a step by an ulp or two (6e-8 each)
    and many Adam steps at this high a rate by some more, gradients ten times as much. A wrong mask,
    a lost gradient or a norm that counts a parameter twice moves them by 1e-3 and more.
    """
    np.testing.assert_allclose(result[0::2], expected[0::2], rtol=1e-5, atol=1e-6, err_msg=what)
    np.testing.assert_allclose(result[1::2], expected[1::2], rtol=1e-4, atol=1e-5, err_msg=what)


def train(
    given: PipelineConfig,
    run: Path | None = None,
    start_from: bool = False,
    save_at: int = 0,
    documents: bool = False,
) -> list[float]:
    """Loss and gradient norm of each step in turn, and the loss on a held-out batch at the end.

    Two batches take turns, so that there is something to learn.
    """
    seen = train_on(given, run, start_from, save_at, documents)
    world.stop()
    return seen


def train_each(given: list[PipelineConfig], run: Path | None = None) -> list[list[float]]:
    """`train` with one configuration after the other, all in this world, from a run's checkpoint if given."""
    found = []
    for one in given:
        found.append(train_on(one, run, start_from=run is not None))
        leave_groups()
    world.stop()
    return found


def train_on(
    given: PipelineConfig,
    run: Path | None = None,
    start_from: bool = False,
    save_at: int = 0,
    documents: bool = False,
) -> list[float]:
    """`train`, which does not leave the world."""
    here = world.start(given.parallel, given.seed)
    layers = model_layers(given, VOCABULARY, torch.float32)
    objective = objective_of(given.objective)
    engine = Engine(layers, objective, here, given.parallel, given.train, torch.float32, given.seed)
    start = 0
    if start_from:
        assert run is not None
        found = saving.newest(run, here, print)
        assert found is not None
        start = saving.load(engine, found)
    seen: list[float] = []
    for step in range(start, given.train.steps):
        accumulation = given.train.accumulation(here.data_size, step)
        batches = share(global_batch(step % 2, documents, given.model.architecture), here, accumulation)
        seen += engine.train_step(batches, learning_rate(step, given.train))
        if run is not None and step + 1 == save_at:
            saving.save(engine, run, save_at)
    accumulation = given.train.accumulation(here.data_size)
    held_out = global_batch(1000, documents, given.model.architecture)
    seen.append(engine.evaluate(share(held_out, here, accumulation)))
    return seen
