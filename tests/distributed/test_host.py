"""What keeps a device busy: the host reads nothing back within a step, and a block compiles as one graph."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.config import ParallelConfig, TrainConfig
from pipeline.costs.memory import REDUCE_BUCKET
from pipeline.distributed import world
from pipeline.models.block import Block
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine, deepspeed_config
from pipeline.parallel.stack import Stack
from tests.distributed import toy
from tests.distributed.processes import run_world

MODELS = {"gpt": toy.GPT, "llama": toy.LLAMA, "bert": toy.BERT, "t5": toy.T5, "bloom": toy.BLOOM}
READS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique")
"""Operations that the host waits for: `.item()`, `float()`, `if tensor`, shapes that depend on data."""
AT_THE_END = 6
"""Reads that a step may end with: its loss, the gradient's norm, whether it is finite."""


class Reads(TorchDispatchMode):
    """Counts what the host reads while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        masks = args[1] if "aten.index" in str(function) and len(args) > 1 else ()
        by_mask = any(getattr(mask, "dtype", None) == torch.bool for mask in masks if mask is not None)
        if by_mask or any(name in str(function) for name in READS):
            self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def each(function: Callable[[str, dict[str, Any]], Any]) -> dict[str, Any]:
    """Call a function for every model, in one world."""
    found = {name: function(name, model) for name, model in MODELS.items()}
    world.stop()
    return found


def reads(name: str, model: dict[str, Any]) -> list[tuple[int, int]]:
    """For ZeRO 0 to 2: reads before the last backward pass is over, and in the whole step."""
    found = []
    for zero_stage in (0, 1, 2):
        config = toy.config(model, zero_stage=zero_stage)
        here = world.start(config.parallel, config.seed)
        layers = model_layers(config, toy.VOCABULARY, torch.float32)
        objective = objective_of(config.objective)
        engine = Engine(layers, objective, here, config.parallel, config.train, torch.float32, config.seed)
        batch = toy.global_batch(0, architecture=config.model.architecture)
        shares = toy.share(batch, here, config.train.accumulation(1))
        engine.train_step(shares, 1e-3)
        backward, at_backward = engine.engine.backward, []

        def watched(loss: torch.Tensor) -> None:
            backward(loss)  # noqa: B023
            at_backward.append(len(mode.names))  # noqa: B023

        engine.engine.backward = watched
        with Reads() as mode:
            engine.train_step(shares, 1e-3)
        assert len(at_backward) == len(shares) > 1
        found.append((at_backward[-1], len(mode.names)))
    return found


def graphs(name: str, model: dict[str, Any]) -> int:
    """Compiled blocks, each of which must be one graph; the loss and its gradients are the eager ones."""
    config = toy.config(model)
    here = world.start(config.parallel, config.seed)
    layers = model_layers(config, toy.VOCABULARY, torch.float32)
    objective, stack = objective_of(config.objective), Stack(layers)
    for parameter in stack.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    batch = toy.share(toy.global_batch(0, architecture=config.model.architecture), here, 1)[0]
    tensors = {key: torch.from_numpy(array) for key, array in batch.items()}
    labels = {key: tensors.pop(key) for key in objective.labels if key in tensors}

    def gradients() -> tuple[float, torch.Tensor]:
        stack.zero_grad()
        loss, _ = objective(stack(dict(tensors)), labels)
        loss.backward()
        first = next(part.mlp for part in stack.modules() if isinstance(part, Block))
        return float(loss), first.up.weight.grad.clone()

    expected, expected_gradient = gradients()
    blocks = [part for part in stack.modules() if isinstance(part, Block)]
    for block in blocks:
        block.compile(backend="eager", fullgraph=True)
    found, gradient = gradients()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-6)
    return len(blocks)


def test_the_host_reads_nothing_back_before_a_step_has_been_asked_for() -> None:
    [found] = run_world(1, each, reads)
    for name, counts in found.items():
        for zero_stage, (within, whole) in enumerate(counts):
            assert within == 0, f"{name}, ZeRO {zero_stage}: {within} reads within the step"
            assert 0 < whole <= AT_THE_END, f"{name}, ZeRO {zero_stage}: {whole} reads in all"


def test_a_read_within_a_step_is_found() -> None:
    values = torch.ones(3)
    with Reads() as mode:
        float(values.sum())
        values[values > 0]
    assert len(mode.names) >= 2


def test_blocks_compile_whole() -> None:
    """`fullgraph` refuses a break in what Dynamo traces; no code is generated."""
    [found] = run_world(1, each, graphs)
    assert all(count >= 2 for count in found.values())


def test_communication_overlaps_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepSpeed's own switch, with buckets that let the first gradients leave while the last are made."""
    parallel, train = ParallelConfig(zero_stage=2), TrainConfig(global_batch=16, micro_batch=2)
    here = world.World(0, 8, torch.device("cuda"), 0, 1, 0, 1, 0, 8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    held = 10 * REDUCE_BUCKET
    told = deepspeed_config(parallel, train, here, torch.bfloat16, held)
    assert told["zero_optimization"]["overlap_comm"]
    assert told["zero_optimization"]["reduce_bucket_size"] * 4 <= held
