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
import sys

import torch

from launch.quiet import quieten
from pipeline.distributed import world
from tests.gpu.parts import Parts, communication
from tests.gpu.training import Case, Training

MODELS = {
    "gpt3-125m": 16,
    "gpt3-350m": 16,
    "gpt3-1.3b": 8,
    "llama2-7b": 2,
    "t5-large": 16,
    "bert-large": 32,
}
"""What is measured, with its micro batch; GPT-3's sizes with dense layers alone, as is usual."""


def case_of(name: str, options: argparse.Namespace) -> Case:
    """What the options say of a model."""
    parallel = {
        "tensor": options.tensor,
        "zero_stage": options.zero_stage,
        "recompute": options.recompute,
        "compile": options.compile,
        "offload": options.offload,
    }
    size = options.micro_batch or MODELS.get(name, 4)
    return Case(name, size, options.length, options.vocabulary, options.accumulation, parallel)


def measure(name: str, options: argparse.Namespace) -> None:
    """Print one model's line and its parts."""
    training = Training(case_of(name, options))
    found = training.figures(options.warmup, options.steps)
    parts = Parts(training.engine, training.world.device)
    with parts:
        whole = training.step()
    shares = parts.shares() | {"communication": communication(training.step) / whole}
    shares["data"] = training.waits[-1] / whole
    if training.world.is_main:
        mfu = f"{100 * found.mfu:5.1f}" if found.mfu else "    ?"
        print(
            f"{name:<14}{found.parameters / 1e6:>9,.1f} M{training.config.data.sequence_length:>7}"
            f"{found.samples:>7}{1000 * found.step:>10.1f}{found.tokens_per_second:>11,.0f}"
            f"{found.flops / found.step / 1e12:>9.2f}{mfu:>7} %{found.memory:>9.1f}"
        )
        print("    " + "  ".join(f"{part} {share:.0%}" for part, share in shares.items()))
        print(f"    peak {(found.peak or 0) / 1e12:.1f} TFLOP/s: {found.peak_words}")


def main() -> int:
    """Print the table."""
    quieten()
    options = parse()
    print(
        f"{'model':<14}{'parameters':>11}{'length':>7}{'batch':>7}{'ms a step':>10}{'tokens/s':>11}"
        f"{'TFLOP/s':>9}{'MFU':>9}{'GiB':>9}"
    )
    for name in options.models:
        try:
            measure(name, options)
        except torch.OutOfMemoryError:
            print(f"{name:<14} does not fit; try --micro-batch, --recompute full, --offload or more GPUs")
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
