"""How many samples a second one process makes, beside a memory-mapped array and webdataset.

    python -m tests.benchmarks.loader [--at-least 20] [--seconds 1] [--repeats 5]

All read the same local tokens and give the same arrays: int64 tokens and targets, float32 weights. The
limit gathers random rows of one memory-mapped array that has the samples cut already; the peer is
webdataset with one array per sample, as its own documentation lays token data out. The ratio is ours to the
peer's at 1,024 tokens.
"""

import argparse
import io
import os
import platform
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.contract.dataset import TOKENIZER, Block, ShardWriter, write_manifest
from data_prep.contract.vocabulary import RESERVED
from pipeline.data.maker import BatchMaker
from pipeline.objectives.batches import Batch
from tests.pipeline import tiny

TOKENS = 40_000_000
BATCH = 64
LENGTH = 1024
WEBDATASET_SAMPLES = 10_000


def write_corpus(folder: Path) -> None:
    """Documents of 500 tokens in the median, log-normal, in blocks of a quarter of a million."""
    vocabulary = tiny.vocabulary(folder / TOKENIZER)
    rng = np.random.default_rng(0)

    def block(size: int = 1 << 18) -> Block:
        lengths = np.clip(rng.lognormal(6.2, 1, size // 100).astype(np.int32), 1, 20_000)
        lengths = lengths[: max(1, int(np.searchsorted(lengths.cumsum(), size)))]
        tokens = rng.integers(len(RESERVED), vocabulary.size, lengths.sum()).astype(np.uint16)
        return Block(tokens, lengths, rng.integers(0, 1 << 63, len(lengths)).astype(np.uint64))

    train, held_out = (ShardWriter(folder, split, vocabulary.size) for split in ("train", "validation"))
    shards = [train.write(n, [block() for _ in range(16)], 1) for n in range(TOKENS >> 22)]
    write_manifest(folder, {"train": shards, "validation": [held_out.write(0, [block()], 1)]})


def ours(folder: Path, length: int, objective: dict[str, Any], packing: str = "joined") -> Iterator[Batch]:
    """Batches of pretraining, with nothing made ahead."""
    config = tiny.config(
        train={"global_batch": BATCH, "micro_batch": BATCH},
        objective=objective,
        data={"sequence_length": length, "packing": packing},
    )
    maker = BatchMaker(config, str(folder), 0, 1)
    step = 0
    while True:
        yield from maker.step(step)
        step += 1


def batch_of(rows: np.ndarray) -> Batch:
    """What a decoder is given, from rows with one token more than a sample."""
    return {
        "tokens": rows[:, :-1].astype(np.int64),
        "targets": rows[:, 1:].astype(np.int64),
        "weights": np.ones((len(rows), rows.shape[1] - 1), np.float32),
    }


def memory_mapped(folder: Path) -> Iterator[Batch]:
    """Random rows of a memory-mapped array of samples, all in the page cache."""
    path = folder / "rows.npy"
    rows = TOKENS // (LENGTH + 1)
    np.save(path, np.random.default_rng(1).integers(111, 150, (rows, LENGTH + 1)).astype(np.uint16))
    mapped = np.load(path, mmap_mode="r")
    rng = np.random.default_rng(2)
    while True:
        order = rng.permutation(rows)
        for start in range(0, rows - BATCH, BATCH):
            yield batch_of(mapped[order[start : start + BATCH]])


def webdataset_samples(folder: Path) -> Iterator[Batch]:
    """webdataset over a tar with one array per sample, shuffled through its buffer of 1,000."""
    import webdataset

    path = folder / "samples.tar"
    rng = np.random.default_rng(3)
    with tarfile.open(path, "w") as tar:
        for number in range(WEBDATASET_SAMPLES):
            buffer = io.BytesIO()
            np.save(buffer, rng.integers(111, 150, LENGTH + 1).astype(np.uint16))
            member = tarfile.TarInfo(f"{number:08d}.tokens.npy")
            member.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(member, buffer)
    while True:
        dataset = (
            webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False).shuffle(1000).decode()
        )
        rows = []
        for sample in dataset:
            rows.append(sample["tokens.npy"])
            if len(rows) == BATCH:
                yield batch_of(np.stack(rows))
                rows = []


def rates(batches: dict[str, Iterator[Batch]], seconds: float, repeats: int) -> dict[str, list[float]]:
    """Samples per second of each, `repeats` times in turns, so that a busy moment hits all alike."""
    found: dict[str, list[float]] = {name: [] for name in batches}
    for name in batches:
        next(batches[name])
    for _ in range(repeats):
        for name, source in batches.items():
            count, started = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - started) < seconds:
                count += len(next(source)["weights"])
            found[name].append(count / elapsed)
    return found


def table(found: dict[str, list[float]], peer: str) -> list[str]:
    """One line for each: the median, the spread, the ratio to the peer's median."""
    reference = statistics.median(found[peer])
    return [
        f"{name:38} {statistics.median(values):>10,.0f}/s  {min(values):>10,.0f} to {max(values):>10,.0f}"
        f"  {statistics.median(values) / reference:>7.2f}"
        for name, values in found.items()
    ]


def machine() -> str:
    """The processor, how many cores it has and how busy they are."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    load = os.getloadavg()[0]
    return f"{(names or [platform.processor()])[0]}, {os.cpu_count()} cores, load {load:.1f} at the start"


def sources(folder: Path) -> dict[str, Callable[[], Iterator[Batch]]]:
    """What is measured, by name."""
    peer: dict[str, Callable[[], Iterator[Batch]]] = {
        PEER: lambda: webdataset_samples(folder),
        "memory-mapped rows, 1,024 (the limit)": lambda: memory_mapped(folder),
        OURS: lambda: ours(folder, LENGTH, {"kind": "causal_lm"}),
        "causal LM, 1,024, best-fit packing": lambda: ours(folder, LENGTH, {"kind": "causal_lm"}, "best_fit"),
    }
    for name, objective in {
        "T5 span corruption, 512": {"kind": "span_corruption"},
        "BERT, 512": {"kind": "masked_lm"},
        "BERT whole words, 512": {"kind": "masked_lm", "masking": "whole_word"},
        "SpanBERT, 512": {"kind": "masked_lm", "masking": "span"},
        "BART, 512": {"kind": "denoising"},
    }.items():
        peer[name] = lambda objective=objective: ours(folder, 512, objective)
    return peer


OURS, PEER = "causal LM, 1,024", "webdataset, an array per sample, 1,024"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-least", type=float, default=0.0, help="exit 1 below this ratio to webdataset")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds per measurement")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(machine())
        write_corpus(folder)
        batches = {label: make() for label, make in sources(folder).items()}
        found = rates(batches, arguments.seconds, arguments.repeats)
    print(f"{'samples per second, one process':38} {'median':>12}  {'lowest to highest':>24}  {'ratio':>7}")
    print("\n".join(table(found, PEER)))
    ratio = statistics.median(found[OURS]) / statistics.median(found[PEER])
    print(f"loader ratio={ratio:.1f}")
    sys.exit(ratio < arguments.at_least)


if __name__ == "__main__":
    main()
