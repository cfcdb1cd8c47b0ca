"""Every family computes in every layout what transformers' model computes on the same weights.

Logits are put together from tensor ranks of the last stage, gradients from all ranks as they come into the
engine, whose norm of them is that of the whole. Tolerances are those of one process, in
`tests.pipeline.conversion.test_equality`.
"""

from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config import TrainConfig
from pipeline.distributed import sharding, world
from pipeline.objectives.batches import Batch
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel import state
from pipeline.parallel.engine import Engine
from tests.distributed.processes import leave_groups, run_world
from tests.pipeline.conversion import references as ref


class Part(NamedTuple):
    """What one rank has of a family's outputs."""

    tensor_rank: int
    logits: Any
    next_sentence: Any
    gradients: dict[str, Any]
    cuts: dict[str, sharding.Cut]
    norm: float


def batch(name: str) -> Batch:
    """A reference batch with targets; padding has no weight."""
    found = {key: tensor.numpy() for key, tensor in ref.inputs(ref.config(name)).items()}
    real = found.get("segments", np.ones_like(found["tokens"]))
    rng = np.random.default_rng(5)
    found["targets"] = rng.integers(0, ref.VOCABULARY, real.shape)
    found["weights"] = real.astype(np.float32)
    if name in ref.SENTENCE_TASKS:
        found["next_sentence"] = np.array([0, 1, 1])
        found["next_sentence_weights"] = np.ones(3, np.float32)
    return {key: np.ascontiguousarray(array) for key, array in found.items()}


def computed(names: list[str], parallel: dict[str, Any]) -> dict[str, Part]:
    """In each process: one training step of each family at a learning rate of zero."""
    found = {}
    for name in names:
        found[name] = one(name, parallel)
        leave_groups(layout=False)
    return found


def one(name: str, parallel: dict[str, Any]) -> Part:
    """One family in this process."""
    given = ref.config(name, **parallel)
    here = world.start(given.parallel, given.seed)
    seen: dict[str, Any] = {"logits": None, "next_sentence_logits": None}

    class Recorded(type(objective_of(given.objective))):  # type: ignore[misc]
        def __call__(self, outputs: Any, labels: Any) -> Any:
            seen.update({key: outputs[key].detach().numpy().copy() for key in seen if key in outputs})
            return super().__call__(outputs, labels)

    optim = TrainConfig(steps=1, global_batch=ref.BATCH, micro_batch=ref.BATCH, clip_gradient_norm=0.0)
    layers = model_layers(given, ref.VOCABULARY, torch.float32)
    engine = Engine(layers, Recorded(given.objective), here, given.parallel, optim, torch.float32, given.seed)
    wholes = engine.whole_shapes()
    state.restore_weights(engine, lambda path: ref.weight(path, torch.Size(wholes[path]), name))
    gradients: dict[str, Any] = {}

    def add(path: str, gradient: Tensor) -> None:  # called for each of a stage's outputs
        gradients[path] = gradients.get(path, 0.0) + gradient.numpy()

    for path, parameter in engine.parameters.items():
        parameter.register_hook(partial(add, path))
    _, norm = engine.train_step([batch(name)], 0.0)
    cuts = {path: sharding.cut_of(p, here.tensor_size) for path, p in engine.parameters.items()}
    return Part(here.tensor_rank, seen["logits"], seen["next_sentence_logits"], gradients, cuts, norm)


@cache
def reference(name: str) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
    """Transformers' logits and next-sentence logits, and its gradients by its names."""
    world.start_alone()
    model = ref.filled(name)
    arrays = {key: torch.from_numpy(array) for key, array in batch(name).items()}
    outputs = ref.theirs(model, ref.inputs(ref.config(name)))
    real = arrays["weights"].bool()
    logits_BSV = outputs.logits if "logits" in outputs else outputs.prediction_logits
    total = torch.nn.functional.cross_entropy(logits_BSV[real], arrays["targets"][real])
    sentence = ref.sentence_logits(outputs)
    if sentence is not None:
        total = total + torch.nn.functional.cross_entropy(sentence, arrays["next_sentence"])
    total.backward()
    gradients = {path: p.grad for path, p in model.named_parameters() if p.grad is not None}
    return logits_BSV.detach()[real], None if sentence is None else sentence.detach(), gradients


@pytest.mark.parametrize(
    "parallel",
    [
        {"tensor": 2},
        {"tensor": 2, "sequence": True},
        {"pipeline": 2},
        {"tensor": 2, "pipeline": 2},
        {"tensor": 2, "pipeline": 2, "sequence": True},
    ],
    ids=lambda sizes: "-".join(f"{key}{int(value)}" for key, value in sizes.items()),
)
def test_layout_equals_transformers(parallel: dict[str, Any]) -> None:
    size = parallel.get("tensor", 1) * parallel.get("pipeline", 1)
    parts = run_world(size, computed, list(ref.MODELS), parallel)
    for name in ref.MODELS:
        check(name, [part[name] for part in parts])


def check(name: str, parts: list[Part]) -> None:
    """The ranks' parts of one family together are what transformers has."""
    logits_BSV, sentence, gradients = reference(name)
    real = torch.from_numpy(batch(name)["weights"]).bool()
    last = [torch.from_numpy(part.logits) for part in parts if part.logits is not None]
    whole_SBV = torch.cat(last, dim=2)[..., : ref.VOCABULARY]
    ref.close(whole_SBV.transpose(0, 1)[real], logits_BSV, 1e-5, f"{name} logits")
    if sentence is not None:
        ref.close(torch.from_numpy(parts[-1].next_sentence), sentence, 1e-5, f"{name} next sentence")
    ours = whole_gradients(parts)
    ref.compare_gradients(name, ours, gradients)
    norm = torch.stack([gradient.square().sum() for gradient in ours.values()]).sum().sqrt()
    np.testing.assert_allclose([part.norm for part in parts], float(norm), rtol=1e-4, err_msg=name)


def whole_gradients(parts: list[Part]) -> dict[str, Tensor]:
    """Every parameter's gradient: shards put together, and what each stage adds to a tied one summed."""
    found: dict[str, Tensor] = {}
    size = 1 + max(part.tensor_rank for part in parts)
    for start in range(0, len(parts), size):  # tensor ranks of one stage stand next to each other
        stage = parts[start : start + size]
        for path, cut in stage[0].cuts.items():
            shards = [torch.from_numpy(part.gradients[path]) for part in stage]
            whole = sharding.unshard(shards if cut.shards > 1 else shards[:1], cut)
            found[path] = found[path] + whole if path in found else whole
    return found
