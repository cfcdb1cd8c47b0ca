"""One training step of an objective in a layout, with all that came of it, to compare with references."""

from functools import partial
from typing import Any, NamedTuple

import torch
from megatron.core import parallel_state
from torch import Tensor

from pipeline.config import PipelineConfig, TrainConfig
from pipeline.distributed import sharding, world
from pipeline.objectives.batches import Batch
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import OBJECTIVES
from pipeline.parallel import state
from pipeline.parallel.engine import Engine
from tests.pipeline.conversion import references as ref


class Part(NamedTuple):
    """What one rank has; `outputs` are there on the last pipeline stage alone."""

    tensor_rank: int
    outputs: dict[str, Any]
    loss: float
    metrics: dict[str, float]
    gradients: dict[str, Any]
    cuts: dict[str, sharding.Cut]
    norm: float


def one_step(given: PipelineConfig, batch: Batch, tokens: int) -> Part:
    """A step at a learning rate of zero, with `ref.weight`'s weights; the layout is left again."""
    here = world.start(given.parallel, given.seed)
    seen: dict[str, Any] = {}

    class Recorded(OBJECTIVES[given.objective.kind]):  # type: ignore[misc]
        def __call__(self, outputs: Any, labels: Any) -> Any:
            seen.update({key: one.detach().numpy().copy() for key, one in outputs.items()})
            return super().__call__(outputs, labels)

    rows = len(batch["tokens"])
    optim = TrainConfig(steps=1, global_batch=rows, micro_batch=rows, clip_gradient_norm=0.0)
    layers = model_layers(given, tokens, torch.float32)
    engine = Engine(layers, Recorded(given.objective), here, given.parallel, optim, torch.float32, given.seed)
    wholes = engine.whole_shapes()
    state.restore_weights(engine, lambda path: ref.weight(path, torch.Size(wholes[path])))
    gradients: dict[str, Any] = {}

    def add(path: str, gradient: Tensor) -> None:
        gradients[path] = gradients.get(path, 0.0) + gradient.numpy()

    for path, parameter in engine.parameters.items():
        parameter.register_hook(partial(add, path))
    loss, norm = engine.train_step([batch], 0.0)
    cuts = {path: sharding.cut_of(p, here.tensor_size) for path, p in engine.parameters.items()}
    parallel_state.destroy_model_parallel()
    return Part(here.tensor_rank, seen, loss, engine.metrics, gradients, cuts, norm)


def whole_gradients(parts: list[Part]) -> dict[str, Tensor]:
    """Shards put together, and what each stage adds to a tied one summed."""
    found: dict[str, Tensor] = {}
    size = 1 + max(part.tensor_rank for part in parts)
    for start in range(0, len(parts), size):
        stage = parts[start : start + size]
        for path, cut in stage[0].cuts.items():
            shards = [torch.from_numpy(part.gradients[path]) for part in stage]
            whole = sharding.unshard(shards if cut.shards > 1 else shards[:1], cut)
            found[path] = found[path] + whole if path in found else whole
    return found
