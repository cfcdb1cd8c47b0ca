"""What a GPU makes of a training step: tokens/s, MFU, peak memory, and where the time goes.

    python -m tests.gpu.mfu                                   every model of the list, one after the other
    python -m tests.gpu.mfu --models gpt3-1.3b --compile      one of them, its layers compiled
    deepspeed --num_gpus 8 tests/gpu/mfu.py --models llama2-7b --tensor 2
    python -m tests.gpu.mfu --models gpt2-tiny --length 64 --vocabulary 512     a try on a CPU

Each model is trained for some steps through the engine that `bloomery train` uses, on random tokens, in
bfloat16 with ZeRO stage 1 (float32 on a CPU).

    MFU = model FLOPs of a step / (seconds of the step x peak FLOP/s of all devices)

Model FLOPs are those of `pipeline.costs.flops`: causal attention counted half, recomputation not at all. The
peak is the dense one of the maker's data sheet (`pipeline.training.peak_flops`). Parts are timed in steps of
their own, forward and backward of each module by events, so that the measured steps have no hooks. A model
that does not fit in memory says so, and the next one is measured.
"""

import argparse
import os
import socket
import statistics
import sys
import time
from typing import Any

import numpy as np
import torch

from launch.quiet import quieten
from pipeline.config import TRAINS, ModelConfig, PipelineConfig
from pipeline.costs import flops
from pipeline.distributed import world
from pipeline.objectives.batches import Batch
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine
from pipeline.training.peak_flops import find_peak
from tests.gpu.parts import Parts, communication

MODELS = {
    "gpt3-125m": 16,
    "gpt3-350m": 16,
    "gpt3-1.3b": 8,
    "llama2-7b": 2,
    "t5-large": 16,
    "bert-large": 32,
}
"""What is measured, with its micro batch; GPT-3's sizes with dense layers alone, as is usual."""


def configuration(name: str, options: argparse.Namespace) -> PipelineConfig:
    """A recipe of the preset at the wanted length."""
    architecture = ModelConfig(preset=name).architecture
    size = options.micro_batch or MODELS.get(name, 4)
    length = options.length if architecture == "decoder" else min(512, options.length)
    positions = length if ModelConfig(preset=name).positions == "learned" else None
    return PipelineConfig.model_validate(
        {
            "name": name,
            "model": {"preset": name, "local_window": None, "max_positions": positions},
            "objective": {"kind": TRAINS[architecture][0]},
            "data": {"sequence_length": length},
            "parallel": {
                "tensor": options.tensor,
                "sequence": options.tensor > 1,
                "zero_stage": options.zero_stage,
                "recompute": options.recompute,
                "compile": options.compile,
                "offload": options.offload,
            },
            "train": {
                "global_batch": size * options.accumulation * data_size(options),
                "micro_batch": size,
                "precision": "bfloat16" if torch.cuda.is_available() else "float32",
            },
        }
    )


def data_size(options: argparse.Namespace) -> int:
    """Data parallel size of this world."""
    return int(os.environ.get("WORLD_SIZE", "1")) // int(options.tensor)


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


def measure(name: str, options: argparse.Namespace) -> None:
    """Print one model's line and its parts."""
    config = configuration(name, options)
    here = world.start(config.parallel, config.seed)
    dtype = torch.bfloat16 if here.device.type == "cuda" else torch.float32
    layers = model_layers(config, options.vocabulary, dtype)
    objective = objective_of(config.objective)
    engine = Engine(layers, objective, here, config.parallel, config.train, dtype, config.seed)
    count = config.train.accumulation(here.data_size)

    waits: list[float] = []

    def step() -> float:
        began = time.perf_counter()
        made = batches(config, options.vocabulary, count, here.data_rank)
        waits.append(time.perf_counter() - began)
        engine.train_step(made, 1e-4)
        if here.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    for _ in range(options.warmup):
        step()
    seconds = statistics.median(step() for _ in range(options.steps))
    rows = flops.padded_vocabulary(options.vocabulary)
    lengths = objective.shape(config.data).lengths
    work = flops.training_per_sample(config.model, lengths, rows) * config.train.global_batch
    tokens = sum(lengths) * config.train.global_batch
    peak = find_peak(here, dtype)
    memory = torch.cuda.max_memory_allocated() / 2**30 if here.device.type == "cuda" else float("nan")
    parts = Parts(engine, here.device)
    with parts:
        whole = step()
    shares = parts.shares() | {"communication": communication(step) / whole, "data": waits[-1] / whole}
    if here.is_main:
        size = flops.parameters(config.model, rows, config.position_table)
        mfu = f"{100 * work / seconds / peak.flops:5.1f}" if peak else "    ?"
        print(
            f"{name:<14}{size / 1e6:>9,.1f} M{config.data.sequence_length:>7}{config.train.global_batch:>7}"
            f"{1000 * seconds:>10.1f}{tokens / seconds:>11,.0f}{work / seconds / 1e12:>9.2f}{mfu:>7} %"
            f"{memory:>9.1f}"
        )
        print("    " + "  ".join(f"{part} {share:.0%}" for part, share in shares.items()))
        if peak:
            print(f"    peak {peak.flops / 1e12:.1f} TFLOP/s: {peak.words}")


def main() -> int:
    """Print the table."""
    quieten()
    options = parse()
    if "WORLD_SIZE" not in os.environ:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
        os.environ.update(place | {"MASTER_PORT": port})
    print(
        f"{'model':<14}{'parameters':>11}{'length':>7}{'batch':>7}{'ms a step':>10}{'tokens/s':>11}"
        f"{'TFLOP/s':>9}{'MFU':>9}{'GiB':>9}"
    )
    for name in options.models:
        try:
            measure(name, options)
        except torch.OutOfMemoryError:
            print(f"{name:<14} does not fit; try --micro-batch, --recompute full, --offload or more GPUs")
        finally:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats() if torch.cuda.is_available() else None
    world.stop()
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument(
        "--length", type=int, default=2048, help="tokens in a sample, with encoders 512 at most"
    )
    parser.add_argument("--vocabulary", type=int, default=50_257)
    parser.add_argument("--micro-batch", type=int)
    parser.add_argument("--accumulation", type=int, default=1, help="micro batches in a step")
    parser.add_argument("--tensor", type=int, default=1)
    parser.add_argument("--zero-stage", type=int, default=1)
    parser.add_argument("--recompute", choices=["none", "selective", "full"], default="none")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--offload", action="store_true")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--local_rank", type=int, help="set by DeepSpeed's launcher")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
