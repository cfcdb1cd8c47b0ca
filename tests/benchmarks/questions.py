"""Questions a minute: in batches of similar length, and one prompt after the other.

    python -m tests.benchmarks.questions [--at-least 3.0] [--run RUN] [--questions 200] [--repeats 3]

Questions of four choices, by likelihood, and ones answered in eight tokens, of made-up sentences; a run, or
a decoder of the quickstart's size with random weights; one thread. Both ways give the same log-likelihoods
(1e-5) and the same texts but for ties, or this ends with an error. The ratio is the geometric mean of the two
kinds'.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from pipeline.distributed import world
from pipeline.evaluation.scoring import score
from pipeline.evaluation.tasks.asking import ask
from pipeline.evaluation.tasks.encoding import Encoder
from pipeline.evaluation.tasks.records import Record
from pipeline.evaluation.tasks.suites import LoadedTask, load
from pipeline.generation.load import LoadedModel, load_model
from pipeline.models.initialize import initialize
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack
from tests.pipeline import tiny
from tests.pipeline.evaluation.tasks.files import write_task

SHAPE = {"layers": 4, "hidden_size": 192, "heads": 6}
LENGTH, CHOICES, TOLERANCE, ALIKE = 128, 4, 1e-5, 0.95


def random_model(folder: Path) -> LoadedModel:
    """A decoder of the quickstart's size."""
    vocabulary = tiny.vocabulary(folder / "tokenizer.model")
    config = tiny.config(model=SHAPE, data={"sequence_length": LENGTH})
    stack = Stack(model_layers(config, vocabulary.size, torch.float32)).eval()
    initialize(stack.named(), 0, 0, 1)
    return LoadedModel(config, vocabulary, torch.device("cpu"), stack, step=0)


def tasks(folder: Path, count: int) -> dict[str, LoadedTask]:
    """One of each kind."""
    texts = tiny.sentences(count * (CHOICES + 1))
    rows: list[Any] = [
        {"question": f"{number}: {texts[number]}", "choices": texts[at : at + CHOICES], "answer": 0}
        for number, at in enumerate(range(count, len(texts), CHOICES))
    ]
    said: dict[str, Any] = {"choices": None, "score": "f1", "generate": {"max_tokens": 8, "stop": ["\n\n"]}}
    told = [{"question": one["question"], "answer": one["choices"][0]} for one in rows]
    chosen, generated = write_task(folder, rows, "chosen"), write_task(folder, told, "said", **said)
    return {"choices": load(chosen), "generated": load(generated)}


def one_by_one(task: LoadedTask, encoder: Encoder) -> list[Record]:
    """Every prompt by itself: a choice of a question is one, too."""
    (sitting,) = task.sittings(0)
    found: list[Record] = []
    for question in sitting.questions:
        prompt = encoder.prompt(task.task, (), question)
        if not prompt.choices:
            found += ask(sitting, [question], encoder, "")
            continue
        logs = [one.log_likelihood for each in prompt.choices for one in score(encoder.model, [each])]
        found.append({"log_likelihoods": logs, "text": ""})
    return found


def in_batches(task: LoadedTask, encoder: Encoder) -> list[Record]:
    """As an evaluation asks them."""
    (sitting,) = task.sittings(0)
    return ask(sitting, sitting.questions, encoder, "")


def check(found: list[Record], wanted: list[Record]) -> None:
    """`SystemExit` where the two ways say different things."""
    pairs = list(zip(found, wanted, strict=True))
    gaps = [
        abs(a - b)
        for one, other in pairs
        for a, b in zip(one["log_likelihoods"], other["log_likelihoods"], strict=True)
    ]
    same = statistics.mean(one["text"] == other["text"] for one, other in pairs)
    if max(gaps, default=0.0) > TOLERANCE or same < ALIKE:
        raise SystemExit(
            f"batches say something else: by {max(gaps, default=0.0):.2g}, {same:.0%} same texts"
        )


def timed(way: Callable[[LoadedTask, Encoder], list[Record]], *given: Any) -> tuple[float, list[Record]]:
    """Questions a minute, and what came of them."""
    started = time.perf_counter()
    found = way(*given)
    return 60 * len(found) / (time.perf_counter() - started), found


def main() -> int:
    """Print the table and the ratio; 1 where it is below `--at-least`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--at-least", type=float, default=0.0)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    world.start_alone()
    ratios = []
    with TemporaryDirectory() as name:
        model = load_model(options.run) if options.run else random_model(Path(name))
        encoder = Encoder(model, chat=False)
        print(f"{'':<12}{'questions a minute':<20}{'lowest':>10}{'median':>10}{'highest':>10}")
        for kind, task in tasks(Path(name), options.questions).items():
            rates: dict[str, list[float]] = {"one by one": [], "in batches": []}
            for _ in range(options.repeats):
                alone, wanted = timed(one_by_one, task, encoder)
                together, found = timed(in_batches, task, encoder)
                check(found, wanted)
                rates["one by one"].append(alone)
                rates["in batches"].append(together)
            for way, some in rates.items():
                middle = statistics.median(some)
                print(f"{kind:<12}{way:<20}{min(some):>10,.0f}{middle:>10,.0f}{max(some):>10,.0f}")
            ratios.append(statistics.median(b / a for a, b in zip(*rates.values(), strict=True)))
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, one thread")
    mean = statistics.geometric_mean(ratios)
    print(f"choices {ratios[0]:.2f}, generated {ratios[1]:.2f}")
    print(f"questions ratio={mean:.2f}")
    return int(mean < options.at_least)


if __name__ == "__main__":
    sys.exit(main())
