"""What `tests.gpu.all` does, piece by piece, in the order of its worth.

A piece is a name, a time within which it is done or given up, and a function of the setting that returns
what is kept of it. Pieces know nothing of one another, so that any of them may fail, or be left for later.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from pipeline.config import ModelConfig
from tests.gpu import kernels, peers
from tests.gpu.trace import trace
from tests.gpu.training import Case, Figures, Training

Found = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """Where pieces run."""

    tiny: bool
    """Models of a test's size: a proof that the pieces work."""
    out: Path

    @property
    def device(self) -> torch.device:
        """The first GPU, or the processor."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def steps(self) -> tuple[int, int]:
        """How many warm a training up, and how many are measured."""
        return (1, 2) if self.tiny else (4, 8)

    def case(self, name: str) -> Case:
        """One of the models, or what stands for it in a tiny run."""
        if self.tiny:
            stands = {"t5-large": "t5-tiny", "bert-large": "bert-tiny"}.get(name, "gpt2-tiny")
            return Case(stands, micro_batch=2, length=64, vocabulary=512)
        return CASES[name]


@dataclass(frozen=True)
class Piece:
    """One piece of work."""

    name: str
    seconds: float
    """It is given up after so long, and not begun where less is left."""
    run: Callable[[Setting], Found]


CASES = {
    "gpt3-125m": Case("gpt3-125m", 16, 2048),
    "gpt3-350m": Case("gpt3-350m", 16, 2048),
    "gpt3-1.3b": Case("gpt3-1.3b", 8, 2048),
    "t5-large": Case("t5-large", 32, 512, 32_128),
    "bert-large": Case("bert-large", 64, 512, 30_522),
}
"""Models at their published lengths, with micro batches for 80 GB."""
LEVERS_OF = "gpt3-350m"
COMPILED = {"compile": True}
GPU_ONLY = {"gpu": True}
NOT_LAYOUT = ("gpu", "accumulation", "micro_batch")


def pieces() -> list[Piece]:
    """All of them."""
    first, *others = CASES
    return [
        Piece("tests", 150, run_tests),
        Piece("ceiling", 40, ceiling),
        *models(first),
        *(piece for name in others for piece in models(name)),
        Piece(f"trace {LEVERS_OF}", 75, lambda setting: traced(setting, LEVERS_OF)),
        *levers(),
        Piece("attention kernels", 75, attention_kernels),
        Piece("float8", 45, float8),
    ]


def models(name: str) -> list[Piece]:
    """A model of ours, as it is and compiled, and transformers'."""

    def ours(compiled: bool) -> Callable[[Setting], Found]:
        def run(setting: Setting) -> Found:
            case = replace(setting.case(name), parallel={"compile": compiled})
            return told(Training(case).figures(*setting.steps))

        return run

    def theirs(setting: Setting) -> Found:
        return told(peers.measure(setting.case(name), False, *setting.steps))

    return [
        Piece(f"{name} | ours, compiled", 120, ours(compiled=True)),
        Piece(f"{name} | transformers", 45, theirs),
        Piece(f"{name} | ours", 45, ours(compiled=False)),
    ]


def levers() -> Iterator[Piece]:
    """One thing changed at a time, beside `ours, compiled` of the same model."""
    ways: dict[str, tuple[dict[str, Any], Callable[[], AbstractContextManager[Any]]]] = {
        "flash attention": ({}, lambda: kernels.sdpa_kernel([kernels.KERNELS["flash"]])),
        "cuDNN attention": (GPU_ONLY, lambda: kernels.sdpa_kernel([kernels.KERNELS["cuDNN"]])),
        "loss whole": ({}, lambda: loss_chunk(2**40)),
        "loss in small chunks": ({}, lambda: loss_chunk(2**23)),
        "CUDA graphs": (GPU_ONLY, cuda_graphs),
        "optimizer not fused": ({}, unfused),
        "4 micro batches a step": ({"accumulation": 4}, nullcontext),
        "half the micro batch": ({"micro_batch": 0.5}, nullcontext),
        "small buckets": ({}, small_buckets),
        "ZeRO 2": ({"zero_stage": 2}, nullcontext),
        "recompute selective": ({"recompute": "selective"}, nullcontext),
    }
    for name, (changes, context) in ways.items():
        yield Piece(f"{LEVERS_OF} | {name}", 60, lever(changes, context))


def lever(
    changes: dict[str, Any], context: Callable[[], AbstractContextManager[Any]]
) -> Callable[[Setting], Found]:
    """A training with changes to the case or its layout, all of it inside of a context."""

    def run(setting: Setting) -> Found:
        if "gpu" in changes and setting.device.type == "cpu":
            return {"skipped": "there is no such thing on a CPU"}
        case = setting.case(LEVERS_OF)
        size = max(1, int(case.micro_batch * changes.get("micro_batch", 1)))
        layout = {key: value for key, value in changes.items() if key not in NOT_LAYOUT}
        case = replace(
            case,
            micro_batch=size,
            accumulation=changes.get("accumulation", 1),
            parallel={**({} if setting.tiny else COMPILED), **layout},
        )
        with context():
            return told(Training(case).figures(*setting.steps))

    return run


def loss_chunk(logits: int) -> AbstractContextManager[Any]:
    """The loss works on so many logits together."""
    stack = ExitStack()
    for name in ("GPU_CHUNK", "CPU_CHUNK"):
        stack.enter_context(patch(f"pipeline.objectives.losses.{name}", logits))
    return stack


def cuda_graphs() -> AbstractContextManager[Any]:
    """Compiled blocks are replayed as CUDA graphs."""
    import torch._inductor.config as inductor

    return patch.object(inductor.triton, "cudagraphs", True)


def small_buckets() -> AbstractContextManager[Any]:
    """Gradients are sent and copied in buckets of ten million."""
    return patch("pipeline.parallel.engine.reduce_bucket", lambda held: 10_000_000)


def unfused() -> AbstractContextManager[Any]:
    """AdamW by torch's loop over tensors."""
    real = torch.optim.AdamW

    def plain(*arguments: Any, **named: Any) -> torch.optim.Optimizer:
        return real(*arguments, **{**named, "fused": False, "foreach": False})

    return patch("torch.optim.AdamW", plain)


def told(found: Figures) -> Found:
    """Figures as they are kept."""
    ordered = sorted(found.seconds)
    return {
        "ms": 1000 * found.step,
        "lowest": 1000 * ordered[0],
        "highest": 1000 * ordered[-1],
        "tokens_per_second": found.tokens_per_second,
        "tflops": found.flops / found.step / 1e12,
        "mfu": found.mfu,
        "gib": found.memory,
        "parameters": found.parameters,
        "samples": found.samples,
        "peak": found.peak_words,
    }


def ceiling(setting: Setting) -> Found:
    """Bare products in the shapes of each model's MLP, and a large square."""
    square = 256 if setting.tiny else 8192
    shapes = {"square": (square, square, square)}
    for name in CASES:
        case = setting.case(name)
        model = ModelConfig(preset=case.model)
        shapes[name] = (case.micro_batch * case.length, model.hidden_size, model.mlp_size)
    return {name: rate / 1e12 for name, rate in kernels.products(setting.device, shapes).items()}


def attention_kernels(setting: Setting) -> Found:
    """Attention of the levers' model alone."""
    case = setting.case(LEVERS_OF)
    model = ModelConfig(preset=case.model)
    return kernels.attention(setting.device, model.heads, case.length, model.head_width, documents=4)


def float8(setting: Setting) -> Found:
    """The MLP's first product of the levers' model."""
    case = setting.case(LEVERS_OF)
    model = ModelConfig(preset=case.model)
    shape = (case.micro_batch * case.length, model.hidden_size, model.mlp_size)
    return kernels.float8_products(setting.device, shape)


def traced(setting: Setting, name: str) -> Found:
    """Where a step's time goes, compiled where that is worth it."""
    training = Training(replace(setting.case(name), parallel={} if setting.tiny else COMPILED))
    for _ in range(setting.steps[0]):
        training.step()
    return trace(training, 2, setting.out / f"trace-{name}.json.gz")


def run_tests(setting: Setting) -> Found:
    """The GPU tests, those that need one left out where there is none."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", "tests/gpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    (setting.out / "tests.txt").write_text(done.stdout + done.stderr)
    found = re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)
    return {"status": done.returncode, **{word: int(count) for count, word in found}}
