"""What checkpoints cost: step time with and without them, and their stall beside a synchronous save.

    python -m tests.benchmarks.checkpoints [--at-least 10] [--layers 6] [--hidden 384] [--steps 12]

Two data-parallel processes train a decoder under ZeRO 1. In turn they take steps without checkpoints, steps
with one begun in every fourth step (a memory copy, then a thread writes and hashes it), and write checkpoints
while the training waits, as a synchronous save does. The ratio is the time of a synchronous save to the stall
of one in the background. Files are on the disk of the temporary folder and flushed.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from pipeline.checkpoints.writer import Writer
from pipeline.config import DataConfig, ModelConfig, ParallelConfig, PipelineConfig, TrainConfig
from pipeline.distributed import world
from pipeline.distributed.signals import agree
from pipeline.objectives.batches import Batch
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine
from tests.distributed.processes import run_world

RANKS, EVERY, VOCABULARY, LENGTH, MICRO_BATCH = 2, 4, 8000, 128, 4
Times = dict[str, list[float]]


def configuration(layers: int, hidden: int) -> PipelineConfig:
    """A decoder with so many layers of this width."""
    return PipelineConfig(
        name="benchmark",
        model=ModelConfig(layers=layers, hidden_size=hidden, heads=hidden // 64),
        data=DataConfig(sequence_length=LENGTH),
        parallel=ParallelConfig(data=RANKS),
        train=TrainConfig(global_batch=RANKS * MICRO_BATCH, micro_batch=MICRO_BATCH),
    )


def batch(rank: int) -> Batch:
    """Random tokens."""
    rng = np.random.default_rng(rank)
    tokens = rng.integers(0, VOCABULARY, (2, MICRO_BATCH, LENGTH))
    return {"tokens": tokens[0], "targets": tokens[1], "weights": np.ones(tokens[0].shape, np.float32)}


def measure(given: PipelineConfig, folder: Path, steps: int, repeats: int) -> tuple[Times, int]:
    """Seconds of everything on this rank, and the bytes that it writes."""
    here = world.start(given.parallel, given.seed)
    layers = model_layers(given, VOCABULARY, torch.float32)
    objective = objective_of(given.objective)
    engine = Engine(layers, objective, here, given.parallel, given.train, torch.float32, given.seed)
    writer = Writer(engine, folder, given.train)
    batches = [batch(here.rank)]
    times: Times = {"without": [], "with": [], "stall": [], "write": [], "synchronous": []}
    engine.train_step(batches, 1e-4)
    for _ in range(repeats):
        for _ in range(steps):
            began = time.perf_counter()
            engine.train_step(batches, 1e-4)
            times["without"].append(time.perf_counter() - began)
        for step in range(steps):
            began = time.perf_counter()
            engine.train_step(batches, 1e-4)
            told = writer.apply(agree(writer.signals(), here))
            if step % EVERY == 0:
                told |= writer.begin(step)
                times["stall"].append(told["checkpoint_stall_seconds"])
            times["with"].append(time.perf_counter() - began)
            times["write"] += [told["checkpoint_write_seconds"]] if "checkpoint_write_seconds" in told else []
        writer.finish()
        for step in range(2):
            began = time.perf_counter()
            writer.begin(step)
            writer.finish()
            times["synchronous"].append(time.perf_counter() - began)
    world.stop()
    return times, writer.bytes


def main() -> int:
    """Print the table and the ratio; 1 where it is below `--at-least`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--at-least", type=float, default=0.0)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    given = configuration(options.layers, options.hidden)
    with tempfile.TemporaryDirectory() as folder:
        results = run_world(RANKS, measure, given, Path(folder), options.steps, options.repeats, seconds=900)
    times, size = results[0][0], sum(written for _, written in results)
    print(f"{size / 1e6:.0f} MB a checkpoint, one in {EVERY} steps, {RANKS} processes")
    print(f"{'':<34}{'ms':>9}  {'lowest':>9}  {'highest':>9}")
    rows = {
        "step without checkpoints": statistics.median(times["without"]),
        "step with checkpoints, mean": statistics.mean(times["with"]),
        "stall of a checkpoint": statistics.median(times["stall"]),
        "its write in the background": statistics.median(times["write"]),
        "synchronous save": statistics.median(times["synchronous"]),
    }
    for (name, value), values in zip(rows.items(), times.values(), strict=True):
        print(f"{name:<34}{1000 * value:>9.1f}  {1000 * min(values):>9.1f}  {1000 * max(values):>9.1f}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    ratio = rows["synchronous save"] / rows["stall of a checkpoint"]
    print(f"checkpoints ratio={ratio:.1f}")
    return int(ratio < options.at_least)


if __name__ == "__main__":
    sys.exit(main())
