"""Low-rank adapters: every layout follows one process, only they move, and merged weights do what they do."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.checkpoints import saving
from pipeline.checkpoints.format import Checkpoint, complete
from pipeline.config import PipelineConfig
from pipeline.distributed import world
from pipeline.models.initialize import initialize
from pipeline.objectives.losses import weighted_cross_entropy
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.optim.names import ADAPTER
from pipeline.parallel.engine import Engine
from pipeline.parallel.stack import Stack
from tests.distributed import toy
from tests.distributed.processes import leave_groups, run_world

STEPS = 8
MODELS = {"llama": toy.LLAMA, "falcon": toy.FALCON}
"""A gated MLP fuses two matrices that are cut alone; a single key and value head is held by every rank."""
LORA = {"lora": {"rank": 4, "alpha": 16.0, "targets": ["blocks.*"], "also": ["*norm.weight"]}}
LAYOUTS: list[dict[str, Any]] = [
    {"zero_stage": 0},
    {"zero_stage": 1},
    {"zero_stage": 2},
    {"zero_stage": 3},
    {"tensor": 2},
    {"tensor": 2, "sequence": True, "zero_stage": 0},
    {"pipeline": 2},
]


def settings(model: str, **layout: Any) -> PipelineConfig:
    """A toy with adapters in its blocks, and with norms that are trained beside them."""
    return toy.config(MODELS[model], steps=STEPS, train=LORA, **layout)


def alone(run: Path) -> list[tuple[list[float], list[float]]]:
    """What one process computes, with a checkpoint at the end; and the held-out losses of merged weights."""
    found = []
    for model in MODELS:
        given = settings(model, zero_stage=1)
        losses = toy.train_on(given, run / model, False, STEPS)
        checkpoint = Checkpoint(complete(run / model)[-1])
        found.append((losses, [merged_loss(given, checkpoint), started_loss(given, checkpoint)]))
        leave_groups()
    world.stop()
    return found


def merged_loss(given: PipelineConfig, checkpoint: Checkpoint) -> float:
    """The held-out loss of a model without adapters."""
    stack = Stack(model_layers(given, toy.VOCABULARY, torch.float32)).eval()
    with torch.no_grad():
        for name, parameter in stack.named():
            parameter.copy_(checkpoint.merged(name))
        batch = {name: torch.from_numpy(array) for name, array in toy.global_batch(1000).items()}
        weights = batch["weights"] / batch["weights"].sum()
        logits = stack({"tokens": batch["tokens"]})["logits"]
        return float(weighted_cross_entropy(logits, batch["targets"], weights))


def started_loss(given: PipelineConfig, checkpoint: Checkpoint) -> float:
    """The held-out loss of another training with adapters, which starts from the weights of this one."""
    here = world.start(given.parallel, given.seed)
    layers = model_layers(given, toy.VOCABULARY, torch.float32)
    objective = objective_of(given.objective)
    engine = Engine(layers, objective, here, given.parallel, given.train, torch.float32, given.seed)
    saving.load_weights(engine, checkpoint)
    return engine.evaluate(toy.share(toy.global_batch(1000), here, given.train.accumulation(1)))


def in_layouts(run: Path) -> dict[str, list[float]]:
    """Each model in each layout; and from halfway of tensor 2 to ZeRO 3."""
    found = {}
    for layout in LAYOUTS:
        for model in MODELS:
            found[f"{model} {layout}"] = toy.train_on(settings(model, **layout))
            leave_groups(layout=False)
        leave_groups()
    for model in MODELS:
        half = run / f"{model} half"
        toy.train_on(settings(model, tensor=2), half, False, 4)
        leave_groups()
        found[f"{model} resumed"] = toy.train_on(settings(model, zero_stage=3), half, True)
        leave_groups()
    world.stop()
    return found


def test_layouts_follow_and_merged_weights_do_the_same(tmp_path: Path) -> None:
    """Merged to 1e-5 relative: the same products in another order."""
    expected = dict(zip(MODELS, run_world(1, alone, tmp_path)[0], strict=True))
    for losses, merged in expected.values():
        np.testing.assert_allclose(merged, [losses[-1]] * 2, rtol=1e-5)
    for what, result in run_world(2, in_layouts, tmp_path, seconds=900)[0].items():
        losses = expected[what.split()[0]][0]
        toy.assert_follows(result, losses[8:] if "resumed" in what else losses, what)
    for model, (losses, _) in expected.items():
        assert losses[-3] < losses[0] - 0.02, "adapters learn"
        check_what_moved(settings(model), Checkpoint(complete(tmp_path / model)[-1]))


def check_what_moved(given: PipelineConfig, checkpoint: Checkpoint) -> None:
    """All weights are saved; adapters and norms are not what was drawn, everything else is."""
    world.start_alone(given.seed)
    named = dict(Stack(model_layers(given, toy.VOCABULARY, torch.float32)).named())
    initialize(named.items(), given.seed, 0, 1)
    for name, drawn in named.items():
        assert torch.equal(checkpoint.weight(name), drawn) != ("norm.weight" in name), name
    for name, entry in checkpoint.index.tensors.items():
        trained = ADAPTER in name or "norm.weight" in name
        assert entry.states == (("exp_avg", "exp_avg_sq") if trained else ())
        assert ADAPTER not in name or checkpoint.weight(name).any()
