"""The memory estimate against what engines allocate and what autograd saves."""

import gc
import math
import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from pipeline.config import PipelineConfig
from pipeline.costs import activations, flops, memory
from pipeline.costs.lengths import Lengths
from pipeline.distributed import world
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.companion import Companion
from pipeline.parallel.engine import Engine
from pipeline.parallel.stack import Stack
from pipeline.parallel.stages import stage_bounds
from tests.distributed import toy
from tests.distributed.processes import run_world

ROWS = flops.padded_vocabulary(toy.VOCABULARY)
WIDE = {"hidden_size": 256}
BATCH, INPUTS = 4, 64
TRAININGS: list[dict[str, Any]] = [
    *({"optimizer": name} for name in ("lamb", "adafactor", "muon")),
    {"average": 0.9},
    {"freeze": ["words.*", "blocks.0.*"]},
    {"lora": {"rank": 4}},
]


def lengths_of(given: PipelineConfig) -> Lengths:
    """Those of the objective's batches."""
    return objective_of(given.objective).shape(given.data).lengths


def storages() -> dict[int, int]:
    """Bytes of every storage that Python can reach."""
    gc.collect()
    tensors = [found for found in gc.get_objects() if isinstance(found, torch.Tensor)]
    return {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors}


def held_since(before: dict[int, int]) -> int:
    """Bytes of the storages that are new and stay.

    The least of some readings: a thread of gloo lets go of what it reduced a little after the rank
    that waits for it goes on.
    """
    readings = []
    for _ in range(5):
        readings.append(sum(size for at, size in storages().items() if at not in before))
        time.sleep(0.1)
    return min(readings)


def engine_bytes(given: PipelineConfig, dtype: torch.dtype) -> int:
    """What an engine holds before its first step: weights and optimizer states."""
    here = world.start(given.parallel, given.seed)
    before = storages()
    layers = model_layers(given, toy.VOCABULARY, dtype)
    objective = objective_of(given.objective)
    engine = Engine(layers, objective, here, given.parallel, given.train, dtype, given.seed)
    held = held_since(before)
    assert engine.parameters
    world.stop()
    return held


def whole_shapes(given: PipelineConfig) -> dict[str, list[int]]:
    """The shape of every parameter."""
    world.start_alone(given.seed)
    stack = Stack(model_layers(given, toy.VOCABULARY, torch.float32))
    return {name: list(parameter.shape) for name, parameter in stack.named()}


def companion_held(given: PipelineConfig) -> int:
    """What a companion and the logits of its samples hold."""
    here = world.start(given.parallel, given.seed)
    before = storages()
    frozen = Companion(model_layers(given, toy.VOCABULARY, torch.float32), here, given.parallel)
    kept = frozen.forward([toy.global_batch(0)])
    held = held_since(before)
    assert len(kept) == (here.pipeline_rank == here.pipeline_size - 1)
    world.stop()
    return held


@pytest.mark.parametrize(("tensor", "pipeline", "data"), [(1, 1, 2), (2, 1, 1), (1, 2, 1)])
def test_a_companion_holds_its_weights_and_the_logits_that_are_kept(
    tensor: int, pipeline: int, data: int
) -> None:
    """To 2 %, as engines; what the largest rank holds."""
    given = toy.config(toy.LLAMA | WIDE, tensor, pipeline)
    measured = run_world(tensor * pipeline * data, companion_held, given)
    expected = memory.companion_bytes(given, lengths_of(given), ROWS, 4, toy.GLOBAL_BATCH)
    assert max(measured) == pytest.approx(expected, rel=0.02)


def train_bytes(all_given: list[PipelineConfig]) -> list[int]:
    """`engine_bytes` of one process for each of these."""
    return [engine_bytes(one, torch.float32) for one in all_given]


def test_states_of_every_optimizer() -> None:
    """To 2 %, as below; vectors and Adafactor's means are counted as matrices are.

    So for what is frozen, what adapters add, and an average of the weights.
    """
    whole = run_world(1, whole_shapes, toy.config(toy.LLAMA | WIDE))
    all_given = [
        toy.config(toy.LLAMA | WIDE, zero_stage=zero_stage, train=train)
        for zero_stage in (0, 1)
        for train in TRAININGS
    ]
    for given, held in zip(all_given, run_world(1, train_bytes, all_given)[0], strict=True):
        lengths = lengths_of(given)
        blocks = memory.stage_blocks(given, lengths, ROWS)[0]
        trained = memory.trained_of(whole[0], given.train)
        expected = memory.on_stage(given, lengths, given.train, ROWS, 1, False, 0, blocks, trained)
        assert held == pytest.approx(expected.weights + expected.optimizer, rel=0.02), given.train


@pytest.mark.parametrize(
    ("tensor", "pipeline", "data", "zero_stage", "dtype"),
    [
        (1, 1, 2, 0, torch.float32),
        (1, 1, 2, 1, torch.float32),
        (2, 1, 1, 2, torch.bfloat16),
        (1, 1, 2, 3, torch.float32),
        (1, 2, 1, 1, torch.float32),
    ],
)
def test_states_are_what_an_engine_holds(
    tensor: int, pipeline: int, data: int, zero_stage: int, dtype: torch.dtype
) -> None:
    """To 2 %: norms and biases that tensor ranks hold whole are counted as divided."""
    given = toy.config(toy.LLAMA | WIDE, tensor, pipeline, zero_stage)
    precision = {torch.float32: "float32", torch.bfloat16: "bfloat16"}[dtype]
    given = given.model_copy(update={"train": given.train.model_copy(update={"precision": precision})})
    measured = run_world(tensor * pipeline * data, engine_bytes, given, dtype)
    lengths = lengths_of(given)
    stages = memory.stage_blocks(given, lengths, ROWS)
    for rank, held in enumerate(measured):
        stage = rank // (tensor * data)
        expected = memory.on_stage(given, lengths, given.train, ROWS, data, False, stage, stages[stage])
        weights = expected.weights
        if (
            zero_stage == 3
        ):  # nothing is gathered yet; the rank's part of the gradients and the bucket are there
            whole = 4 * memory.stage_parameters(given, ROWS, 0, stages[0])
            weights += expected.gradients - whole
        assert held == pytest.approx(weights + expected.optimizer, rel=0.02)


def test_ranks_that_share_experts_hold_their_own() -> None:
    """To 6 %: DeepSpeed may have one matrix twice until its garbage is collected.

    A rank that shares them has less than 60 % of the weights of one that does not.
    """
    given = toy.config(toy.MOE | WIDE, experts=2)
    alone = given.model_copy(update={"parallel": given.parallel.model_copy(update={"experts": 1})})
    lengths, blocks = lengths_of(given), (0, given.model.layers)
    expected, more = (
        memory.on_stage(one, lengths, one.train, ROWS, 2, False, 0, blocks) for one in (given, alone)
    )
    assert expected.weights < 0.6 * more.weights
    for held in run_world(2, engine_bytes, given, torch.float32):
        assert held == pytest.approx(expected.weights + expected.optimizer, rel=0.06)


def saved_values(all_given: list[PipelineConfig]) -> list[int]:
    """Float32 values that autograd saves in a forward pass of each, parameters left out."""
    world.start(all_given[0].parallel, all_given[0].seed)
    found = [saved(given) for given in all_given]
    world.stop()
    return found


def saved(given: PipelineConfig) -> int:
    """Float32 values that autograd saves in one forward pass."""
    stack = Stack(model_layers(given, toy.VOCABULARY, torch.float32), given.parallel)
    own = {parameter.untyped_storage().data_ptr() for parameter in stack.parameters()}
    kept: dict[int, Any] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # so that its place is not used again
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        stack(inputs(given))
    return sum(size for size, _ in kept.values()) // 4


def inputs(given: PipelineConfig) -> dict[str, torch.Tensor]:
    """A batch of random tokens of an objective's lengths."""
    main, targets = lengths_of(given)
    rng = np.random.default_rng(0)

    def tokens(length: int) -> torch.Tensor:
        return torch.from_numpy(rng.integers(0, toy.VOCABULARY, (BATCH, length)))

    if targets:
        return {"tokens": tokens(targets), "encoder_tokens": tokens(main)}
    found = {"tokens": tokens(main)}
    return found | ({"token_types": 0 * found["tokens"]} if given.model.token_types else {})


@pytest.mark.parametrize(
    ("family", "tensor", "sequence"),
    [
        ("GPT", 2, True),
        ("LLAMA", 2, False),
        ("BERT", 1, False),
        ("FALCON", 2, True),
        ("BLOOM", 1, False),
        ("T5", 1, False),
        ("GEMMA", 1, False),
        ("OLMO", 2, False),
        ("MOE", 1, False),
    ],
)
def test_activations_are_what_autograd_saves(family: str, tensor: int, sequence: bool) -> None:
    """To 5 %: what two more layers add (statistics of norms and small copies are not counted)."""
    given = []
    for layers in (2, 4):
        model = getattr(toy, family) | {"hidden_size": 128, "layers": layers}
        one = toy.config(model, tensor, sequence=sequence)
        given.append(one.model_copy(update={"data": one.data.model_copy(update={"sequence_length": INPUTS})}))
    few, many = run_world(tensor, saved_values, given)[0]
    expected = [
        activations.of_stage(one, lengths_of(one), one.model.encoder_depth, one.model.layers) for one in given
    ]
    assert many - few == pytest.approx(BATCH * (expected[1] - expected[0]), rel=0.05)


def test_full_recomputation_keeps_inputs_and_one_block() -> None:
    given = toy.config(toy.GPT | {"layers": 6}, recompute="full")
    once = activations.of_block(given, lengths_of(given), in_encoder=False)
    assert (
        activations.of_stage(given, lengths_of(given), 0, 6)
        == once + 6 * toy.LENGTH * given.model.hidden_size
    )


@pytest.mark.parametrize("family", ["GPT", "LLAMA", "T5"])
@pytest.mark.parametrize("stages", [2, 3, 4, 9])
def test_stages_are_cut_as_the_engine_cuts_them(family: str, stages: int) -> None:
    """The costliest stage of both has as many blocks; where costs tie they may lie elsewhere."""
    given = toy.config(getattr(toy, family) | {"layers": 12, "hidden_size": 64}, pipeline=stages)
    model, lengths = given.model, lengths_of(given)
    costs = [flops.block_cost(model, lengths, True)] * model.encoder_depth
    costs += [flops.block_cost(model, lengths, False)] * 12 + [flops.head_cost(model, lengths, ROWS)]
    bounds = stage_bounds(costs, stages)
    most = max(sum(costs[start:stop]) for start, stop in pairwise(bounds))
    blocks = memory.stage_blocks(given, lengths, ROWS)
    mine = [inner * costs[0] + main * costs[-2] for inner, main in blocks]
    mine[-1] += costs[-1]
    assert len(blocks) == stages
    assert max(mine) <= most * 1.01
    assert sum(map(sum, blocks)) == 12 + given.model.encoder_depth


def test_a_published_size() -> None:
    """GPT-2 XL: 1.56 billion parameters of 16 bytes each (Rajbhandari et al., 2020, section 3.1)."""
    given = PipelineConfig.model_validate(
        {
            "name": "xl",
            "model": {"layers": 48, "hidden_size": 1600, "heads": 25},
            "data": {"sequence_length": 1024},
            "parallel": {"zero_stage": 1},
            "train": {"precision": "bfloat16", "global_batch": 8, "micro_batch": 8},
        }
    )
    found = memory.peak(given, lengths_of(given), given.train, 50304, 1, gpu=False)
    states = found.weights + found.optimizer + found.gradients - 2 * memory.REDUCE_BUCKET
    assert math.isclose(states, 16 * 1_557_611_200, rel_tol=0.01)
    dense = 16 * 1600 * 1024 * 8 * 48 * 2
    assert found.activations == dense, "34 - 5 as/h - masks of Korthikanti et al. leave 16 values of 2 bytes"
