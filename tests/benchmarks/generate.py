"""Tokens a second of generation: with the key-value cache, without it, and by transformers' `generate`.

    python -m tests.benchmarks.generate [--at-least 1.0] [--tokens 128] [--batch 8] [--repeats 3]

One GPT-2 of the quickstart's size and one of 30 million parameters, the same shape and batch of prompts of 32
tokens on both sides, greedy and four beams, float32, no stops, one thread. The ratio is the geometric mean of
ours with the cache to transformers' in the four cases.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import transformers

from pipeline.distributed import world
from pipeline.generation.beams import Beams, beam_search
from pipeline.generation.load import LoadedModel
from pipeline.generation.sampling import generate
from pipeline.models.initialize import initialize
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack
from tests.pipeline import tiny
from tests.pipeline.generation.uncached import WithoutCache

SHAPES = {
    "4 x 192, 4k words": {"layers": 4, "hidden_size": 192, "heads": 6, "vocabulary": 4096},
    "8 x 512, 8k words": {"layers": 8, "hidden_size": 512, "heads": 8, "vocabulary": 8192},
}
PROMPT = 32
BEAMS = Beams(4)


def ours(shape: dict[str, int], longest: int) -> LoadedModel:
    """Our model with random weights."""
    model = {name: value for name, value in shape.items() if name != "vocabulary"}
    config = tiny.config(model=model, data={"sequence_length": longest})
    stack = Stack(model_layers(config, shape["vocabulary"], torch.float32)).eval()
    initialize(stack.named(), 0, 0, 1)
    vocabulary: Any = SimpleNamespace(size=shape["vocabulary"], pad=0, eos=3)
    return LoadedModel(config, vocabulary, torch.device("cpu"), stack, step=0)


def peer(shape: dict[str, int], longest: int) -> Any:
    """Transformers' model of the same shape."""
    settings = transformers.GPT2Config(
        vocab_size=shape["vocabulary"],
        n_positions=longest,
        n_embd=shape["hidden_size"],
        n_layer=shape["layers"],
        n_head=shape["heads"],
        bos_token_id=None,
        eos_token_id=None,
    )
    return transformers.GPT2LMHeadModel(settings).eval()


def ways(shape: dict[str, int], batch: int, tokens: int) -> dict[str, dict[str, Callable[[], object]]]:
    """By kind of search, the ways to make the same number of tokens."""
    model, reference = ours(shape, PROMPT + tokens), peer(shape, PROMPT + tokens)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, shape["vocabulary"], (batch, PROMPT), generator=generator)
    prompts, plain = ids.tolist(), WithoutCache(model)

    def theirs(**how: Any) -> None:
        with torch.inference_mode():
            reference.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False,
                pad_token_id=0, **how,
            )  # fmt: skip

    return {
        "greedy": {
            "cache": lambda: generate(model, prompts, tokens),
            "no cache": lambda: generate(plain, prompts, tokens),
            "transformers": theirs,
        },
        f"{BEAMS.count} beams": {
            "cache": lambda: beam_search(model, prompts, tokens, BEAMS),
            "no cache": lambda: beam_search(plain, prompts, tokens, BEAMS),
            "transformers": lambda: theirs(num_beams=BEAMS.count),
        },
    }


def seconds(way: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


def measure(
    shape: dict[str, int], batch: int, tokens: int, repeats: int
) -> dict[tuple[str, str], list[float]]:
    """Tokens a second of each way, by repeat; without a cache one repeat is enough."""
    found: dict[tuple[str, str], list[float]] = {}
    for kind, by_name in ways(shape, batch, tokens).items():
        for repeat in range(repeats):
            for name, way in by_name.items():
                if name != "no cache" or repeat == 0:
                    found.setdefault((kind, name), []).append(batch * tokens / seconds(way))
    return found


def main() -> int:
    """Print the table and the ratio; 1 where it is below `--at-least`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--at-least", type=float, default=0.0)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    world.start_alone()
    print(f"{options.batch} prompts of {PROMPT} tokens, {options.tokens} more, {options.repeats} repeats")
    print(f"{'':<20}{'':<10}{'':<14}{'tokens/s':>10}{'lowest':>10}{'highest':>10}{'cache is':>10}")
    ratios = []
    for shape, sizes in SHAPES.items():
        found = measure(sizes, options.batch, options.tokens, options.repeats)
        for (kind, name), rates in found.items():
            middle = statistics.median(rates)
            ratio = statistics.median(found[kind, "cache"]) / middle
            if name == "transformers":
                ratios.append(ratio)
            print(
                f"{shape:<20}{kind:<10}{name:<14}{middle:>10.0f}{min(rates):>10.0f}{max(rates):>10.0f}"
                f"{ratio:>9.2f}x"
            )
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, one thread")
    mean = statistics.geometric_mean(ratios)
    print(f"generate ratio={mean:.2f}")
    return int(mean < options.at_least)


if __name__ == "__main__":
    sys.exit(main())
