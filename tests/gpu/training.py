"""A training of random tokens through the engine that `bloomery train` uses, and what its steps cost."""

import os
import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pipeline.config import TRAINS, ModelConfig, PipelineConfig
from pipeline.costs import flops
from pipeline.distributed import world
from pipeline.distributed.world import World
from pipeline.objectives.batches import Batch
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine
from pipeline.training.peak_flops import find_peak


@dataclass(frozen=True)
class Case:
    """What is trained."""

    model: str
    """A preset."""
    micro_batch: int
    length: int
    """Tokens in a sample; with encoders 512 at most."""
    vocabulary: int = 50_257
    accumulation: int = 1
    """Micro batches in a step."""
    parallel: dict[str, Any] = field(default_factory=dict)
    """Keys of the recipe's `parallel` section."""


@dataclass(frozen=True)
class Figures:
    """What steps have cost."""

    parameters: int
    samples: int
    """In a step, over all ranks."""
    tokens: int
    """In a step, over all ranks, encoder and decoder."""
    seconds: list[float]
    """Of each measured step."""
    flops: float
    """Model FLOPs of a step: `pipeline.costs.flops`."""
    peak: float | None
    """FLOP/s of all devices by their data sheet; of a CPU as measured."""
    peak_words: str
    memory: float
    """The most GiB that this rank's device held; NaN on a CPU."""

    @property
    def step(self) -> float:
        """Median seconds of a step."""
        return statistics.median(self.seconds)

    @property
    def tokens_per_second(self) -> float:
        """Over all ranks."""
        return self.tokens / self.step

    @property
    def mfu(self) -> float | None:
        """Model FLOPs over what the devices could have done in that time."""
        return self.flops / self.step / self.peak if self.peak else None


def configuration(case: Case) -> PipelineConfig:
    """A recipe of the preset at the wanted length."""
    architecture = ModelConfig(preset=case.model).architecture
    length = case.length if architecture == "decoder" else min(512, case.length)
    positions = length if ModelConfig(preset=case.model).positions == "learned" else None
    tensor = case.parallel.get("tensor", 1)
    data_size = int(os.environ.get("WORLD_SIZE", "1")) // tensor
    return PipelineConfig.model_validate(
        {
            "name": case.model,
            "model": {"preset": case.model, "local_window": None, "max_positions": positions},
            "objective": {"kind": TRAINS[architecture][0]},
            "data": {"sequence_length": length},
            "parallel": {"sequence": tensor > 1, **case.parallel},
            "train": {
                "global_batch": case.micro_batch * case.accumulation * data_size,
                "micro_batch": case.micro_batch,
                "precision": "bfloat16" if torch.cuda.is_available() else "float32",
            },
        }
    )


def batches(config: PipelineConfig, vocabulary: int, count: int, rank: int) -> list[Batch]:
    """Micro batches of random tokens, made anew for each step as a loader would."""
    inputs, targets = objective_of(config.objective).shape(config.data).lengths
    rng = np.random.default_rng(rank)

    def tokens(length: int) -> np.ndarray[Any, Any]:
        return rng.integers(0, vocabulary, (config.train.micro_batch, length))

    found = []
    for _ in range(count):
        length = targets or inputs
        batch: Batch = {"tokens": tokens(length), "targets": tokens(length)}
        batch["weights"] = np.ones((config.train.micro_batch, length), np.float32)
        if targets:
            batch["encoder_tokens"] = tokens(inputs)
            batch["encoder_segments"] = np.ones((config.train.micro_batch, inputs), np.int32)
        found.append(batch)
    return found


class Training:
    """An engine over a case's model, and its steps. It lasts until the next one starts."""

    def __init__(self, case: Case) -> None:
        self.case, self.config = case, configuration(case)
        describe_world()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        self.world: World = world.start(self.config.parallel, self.config.seed)
        self.on_gpu = self.world.device.type == "cuda"
        dtype = torch.bfloat16 if self.on_gpu else torch.float32
        layers = model_layers(self.config, case.vocabulary, dtype)
        self.objective = objective_of(self.config.objective)
        parallel, train = self.config.parallel, self.config.train
        self.engine = Engine(layers, self.objective, self.world, parallel, train, dtype, self.config.seed)
        self.count = train.accumulation(self.world.data_size)
        self.waits: list[float] = []
        """Seconds that each step waited for its batches."""

    def step(self) -> float:
        """Take one; returns its seconds, those of making its batches among them."""
        began = time.perf_counter()
        made = batches(self.config, self.case.vocabulary, self.count, self.world.data_rank)
        self.waits.append(time.perf_counter() - began)
        self.engine.train_step(made, 1e-4)
        if self.on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - began

    def figures(self, warmup: int, steps: int) -> Figures:
        """Measure steps after some that do not count."""
        return figures(self.config, self.case, self.world, self.step, warmup, steps)


def figures(
    config: PipelineConfig,
    case: Case,
    here: World,
    step: Callable[[], float],
    warmup: int,
    steps: int,
) -> Figures:
    """What `step` costs, whosever step of this case it is."""
    for _ in range(warmup):
        step()
    seconds = [step() for _ in range(steps)]
    rows = flops.padded_vocabulary(case.vocabulary)
    lengths = objective_of(config.objective).shape(config.data).lengths
    on_gpu = here.device.type == "cuda"
    peak = find_peak(here, torch.bfloat16 if on_gpu else torch.float32)
    samples = config.train.global_batch
    return Figures(
        parameters=flops.parameters(config.model, rows, config.position_table),
        samples=samples,
        tokens=sum(lengths) * samples,
        seconds=seconds,
        flops=flops.training_per_sample(config.model, lengths, rows) * samples,
        peak=peak.flops if peak else None,
        peak_words=peak.words if peak else "not known",
        memory=torch.cuda.max_memory_allocated() / 2**30 if on_gpu else float("nan"),
    )


def describe_world() -> None:
    """A world of one process, where no launcher has described another."""
    if "WORLD_SIZE" in os.environ:
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    os.environ.update(place | {"MASTER_PORT": port})
