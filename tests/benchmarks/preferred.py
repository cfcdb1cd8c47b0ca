"""A reward model on published comparisons (Bai et al. 2022, harmless-base): beside chance, and beside length.

    python -m tests.benchmarks.preferred [--at-least 1.0] [--steps 300] [--folder FOLDER]

A small decoder is trained on the dialogues of nine tenths of the pairs, then as a reward model on their
comparisons; the last tenth judges. The ratio is its accuracy to that of the best rule that reads no word:
chance, the longer or the shorter answer. It reads ../shared/data/hh_rlhf, with one thread in some ten
minutes.
"""

import argparse
import os
import platform
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from data_prep.contract.receipt import read_receipt
from pipeline.preferences.rankings import Ranking, read_rankings
from tests.distributed.processes import run_world
from tests.pipeline import tiny
from tests.pipeline.preferences import made
from tests.pipeline.stages.in_process import train

DATA = Path(__file__).parents[3] / "shared/data/hh_rlhf/harmless-base.test.jsonl.gz"
COMMON = {"global_batch": 16, "micro_batch": 16, "warmup_steps": 10, "validation_samples": 400}


def recipe(steps: int) -> dict[str, Any]:
    """Language first, then preferences: as many steps of 16 pairs as two epochs have."""
    last = {"validate_every": steps, "checkpoint_every": steps}
    return {
        "model": {"layers": 2, "hidden_size": 128, "heads": 4},
        "data": {"sequence_length": 256},
        "train": COMMON | last | {"steps": steps, "learning_rate": 3e-3},
        "stages": {
            "base": {"kind": "pretrain", "data": "dataset"},
            "liked": {
                "kind": "reward",
                "from": "base",
                "data": ["train.jsonl"],
                "validation": ["validation.jsonl"],
                "steps": 240,
                "learning_rate": 3e-4,
                "weight_decay": 0.1,
                "checkpoint_every": 240,
                "validate_every": 60,
                **COMMON,
            },
        },
    }


def prepare(folder: Path) -> None:
    """A dataset of dialogues with a tokenizer of its own, and comparisons apart from those that judge."""
    found = [one for one in read_rankings(DATA) if one.beats.any()]
    random.Random(0).shuffle(found)
    cut = len(found) // 10
    parts = {"validation": found[:cut], "train": found[cut:]}
    texts = {name: [dialogue(one) for one in some] for name, some in parts.items()}
    vocabulary = tiny.vocabulary(folder / "tokenizer.model", 4000, texts["train"])
    tiny.dataset(folder / "dataset", texts, tokenizer=vocabulary)
    for name, some in parts.items():
        made.write(folder / f"{name}.jsonl", [row(one) for one in some])


def dialogue(one: Ranking) -> str:
    """What is said, with the better answer."""
    return "\n\n".join([*(message.content for message in one.prompt), one.answers[0]])


def row(one: Ranking) -> dict[str, Any]:
    """A comparison with the last question alone, which leaves room for the answers."""
    asked = one.prompt[-1]
    prompt = [{"role": asked.role, "content": asked.content}]
    return {"prompt": prompt, "chosen": one.answers[0], "rejected": one.answers[1]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--at-least", type=float, default=0.0)
    parser.add_argument("--steps", type=int, default=300, help="of the language model")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary one where left out")
    options = parser.parse_args()
    if not DATA.is_file():
        print(f"{DATA} is not there")
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder)
        run_world(1, train, folder, recipe(options.steps), ["base", "liked"], seconds=36_000)
        receipt = read_receipt(folder / "work" / "liked")
        assert receipt is not None
        found = receipt.counts["reward"]
    longer, accuracy = found["longer_is_better"], found["accuracy"]
    low, high = found["interval"]
    print(f"{'decides by':<20}{'right':>8}   of {found['prompts']} comparisons")
    print(f"{'reward model':<20}{accuracy:>8.3f}   95 % interval {low:.3f} to {high:.3f}")
    for name, right in (("the longer answer", longer), ("the shorter answer", 1 - longer), ("chance", 0.5)):
        print(f"{name:<20}{right:>8.3f}")
    print(f"calibration error {found['calibration_error']:.3f}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, one thread")
    ratio = accuracy / max(longer, 1 - longer, 0.5)
    print(f"preferred ratio={ratio:.2f}")
    return int(ratio < options.at_least)


if __name__ == "__main__":
    sys.exit(main())
