"""A training step of ours beside transformers' model in a plain loop, and beside such a loop over our layers.

    python -m tests.benchmarks.step [--at-least 1.0] [--threads 2] [--steps 30] [--layers 4] [--hidden 256]

A GPT, a BERT and a T5, float32 on a CPU: the same configuration, batch and threads, one process, each way's
steps in turn. A step is forward, loss, backward, clipping by the whole norm and AdamW (torch's fused one in
every way). Beside the medians stand the ratios transformers to ours, and ours to the bare loop: the cost of
the engine. The last line has the smallest ratio to transformers.
"""

import argparse
import os
import platform
import socket
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ["DS_ACCELERATOR"] = "cpu"

import numpy as np
import torch
from torch import Tensor, nn

from launch.quiet import quieten
from pipeline.config import PipelineConfig
from pipeline.distributed import world
from pipeline.objectives.batches import Batch
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.optim.build import build
from pipeline.optim.groups import group_keys
from pipeline.parallel.engine import Engine
from pipeline.parallel.stack import Stack
from tests.benchmarks.references import reference

VOCABULARY, LENGTH, TARGETS, BATCH = 8192, 256, 64, 8
MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "gpt": ({}, "causal_lm"),
    "bert": ({"architecture": "encoder", "norm_placement": "post", "embedding_norm": True}, "masked_lm"),
    "t5": (
        {"preset": "t5-tiny", "feed_forward_size": None, "logit_scale": 1.0},
        "span_corruption",
    ),
}


def configuration(name: str, layers: int, hidden: int) -> PipelineConfig:
    """A recipe of the family, with heads of 64."""
    model, objective = MODELS[name]
    sizes = {"layers": layers, "hidden_size": hidden, "heads": hidden // 64}
    return PipelineConfig.model_validate(
        {
            "name": name,
            "model": model | sizes,
            "objective": {"kind": objective},
            "data": {"sequence_length": LENGTH},
            "parallel": {"zero_stage": 0},
            "train": {"global_batch": BATCH, "micro_batch": BATCH, "precision": "float32"},
        }
    )


def batch(name: str) -> Batch:
    """Random tokens."""
    rng = np.random.default_rng(0)
    shape = (BATCH, TARGETS if name == "t5" else LENGTH)
    found: Batch = {
        "tokens": rng.integers(0, VOCABULARY, shape),
        "targets": rng.integers(0, VOCABULARY, shape),
        "weights": np.ones(shape, np.float32),
    }
    if name == "t5":
        found["encoder_tokens"] = rng.integers(0, VOCABULARY, (BATCH, LENGTH))
        found["encoder_segments"] = np.ones((BATCH, LENGTH), np.int32)
    return found


def plain_loop(
    parameters: dict[str, nn.Parameter], config: PipelineConfig, compute: Callable[[], Tensor]
) -> Callable[[], object]:
    """A step as a short script has it."""
    optimizer = build(parameters, group_keys(parameters, config.train), config.train)

    def step() -> None:
        optimizer.zero_grad()
        compute().backward()
        nn.utils.clip_grad_norm_(parameters.values(), config.train.clip_gradient_norm)
        optimizer.step()

    return step


def ways(name: str, config: PipelineConfig, here: world.World) -> dict[str, Callable[[], object]]:
    """A function per way that takes one step."""
    arrays = batch(name)
    tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
    weights = tensors["weights"] / tensors["weights"].sum()
    inputs = {key: tensor for key, tensor in tensors.items() if key not in ("targets", "weights")}

    layers = model_layers(config, VOCABULARY, torch.float32)
    objective = objective_of(config.objective)
    engine = Engine(layers, objective, here, config.parallel, config.train, torch.float32, config.seed)
    stack, theirs = Stack(layers), reference(config.model, VOCABULARY, LENGTH)

    def of_ours() -> Tensor:
        return objective(stack(dict(inputs)), {"targets": tensors["targets"], "weights": weights})[0]

    def of_theirs() -> Tensor:
        if name == "t5":
            logits = theirs(
                input_ids=inputs["encoder_tokens"],
                attention_mask=inputs["encoder_segments"],
                decoder_input_ids=inputs["tokens"],
            ).logits
        else:
            logits = theirs(inputs["tokens"]).logits
        return nn.functional.cross_entropy(logits.flatten(0, 1), tensors["targets"].flatten())

    return {
        "ours": lambda: engine.train_step([arrays], 1e-4),
        "bare loop": plain_loop(dict(stack.named()), config, of_ours),
        "transformers": plain_loop(dict(theirs.named_parameters()), config, of_theirs),
    }


def measure(steps: dict[str, Callable[[], object]], count: int) -> dict[str, list[float]]:
    """Milliseconds of each way's steps, the ways taking turns; three steps of each do not count."""
    seconds: dict[str, list[float]] = {way: [] for way in steps}
    for turn in range(count + 3):
        for way, step in steps.items():
            began = time.perf_counter()
            step()
            if turn >= 3:
                seconds[way].append(1000 * (time.perf_counter() - began))
    return seconds


def alone() -> world.World:
    """A world of one process as a launcher would describe it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    os.environ.update(place | {"MASTER_PORT": port})
    return world.start(configuration("gpt", 1, 64).parallel, 0)


def main() -> int:
    """Print the table and the ratio; 1 where it is below `--at-least`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--at-least", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=256)
    options = parser.parse_args()
    quieten()
    torch.set_num_threads(options.threads)
    here, ratios = alone(), []
    print(f"{'model':<8}{'way':<14}{'ms a step':>10}{'lowest':>9}{'highest':>9}")
    for name in MODELS:
        seconds = measure(
            ways(name, configuration(name, options.layers, options.hidden), here), options.steps
        )
        for way, values in seconds.items():
            middle = statistics.median(values)
            print(f"{name:<8}{way:<14}{middle:>10.1f}{min(values):>9.1f}{max(values):>9.1f}")
        ours, bare, theirs = (statistics.median(values) for values in seconds.values())
        ratios.append(theirs / ours)
        print(f"{name:<8}transformers / ours {theirs / ours:.2f}   ours / bare loop {ours / bare:.3f}")
    print(f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}, ", end="")
    print(f"batch {BATCH} x {LENGTH} (T5 decoder {TARGETS}), width {options.hidden}, {options.layers} layers")
    print(f"step ratio={min(ratios):.2f}")
    return int(min(ratios) < options.at_least)


if __name__ == "__main__":
    sys.exit(main())
