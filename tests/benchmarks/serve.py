"""Tokens a second of `bloomery serve`: many clients at once against the same requests one after the other.

    python -m tests.benchmarks.serve [--at-least 1.0] [--clients 50] [--tokens 64] [--slots 16] [--repeats 3]

Two GPT-2s with random weights and few words, one of the quickstart's shape and one of 25 million parameters,
in a server process of one thread of arithmetic; clients are plain sockets that read streams, in this process.
Beside tokens a second stands how long clients waited for their first text: the median and the longest. The
ratio is the geometric mean of both models' ratios of tokens a second.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from data_prep.contract.dataset import TOKENIZER
from pipeline.checkpoints.run_folder import checkpoint_folder, write_config
from pipeline.conversion.imports import write_checkpoint
from pipeline.conversion.skeleton import shapes
from tests.pipeline import tiny

SHAPES: dict[str, dict[str, object]] = {
    "4 x 192": {"layers": 4, "hidden_size": 192, "heads": 6},
    "8 x 512": {"layers": 8, "hidden_size": 512, "heads": 8},
}
COMMAND = "from launch.cli import main; main()"
NAME = "made/run"
WORDS = " ".join(tiny.WORDS)


@dataclass
class Stream:
    """What a client got."""

    tokens: int = 0
    first: float = 0.0
    """Seconds from the request to the first text."""


def make_run(folder: Path, shape: dict[str, object], longest: int) -> Path:
    """A run with random weights."""
    folder.mkdir()
    vocabulary = tiny.vocabulary(folder / TOKENIZER)
    config = tiny.config(model=shape, data={"sequence_length": longest})
    write_config(folder, config)
    generator = torch.Generator().manual_seed(0)
    weights = (
        (name, torch.randn(*size, generator=generator) * 0.02)
        for name, size in shapes(config, vocabulary.size).items()
    )
    write_checkpoint(checkpoint_folder(folder, 0), weights)
    return folder


@contextmanager
def server(run: Path, slots: int, clients: int) -> Iterator[tuple[str, int]]:
    """A server's host and port."""
    options = ["--port", "0", "--json", "--no-open", "--name", NAME]
    options += ["--slots", str(slots), "--queue", str(clients)]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "serve", str(run), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    try:
        assert process.stdout is not None
        host, port = json.loads(process.stdout.readline())["page"].removeprefix("http://").split(":")
        yield host, int(port)
    finally:
        process.terminate()
        process.wait()


async def ask(place: tuple[str, int], number: int, tokens: int) -> Stream:
    """One client's stream, read to its end."""
    body = {
        "model": NAME,
        "prompt": f"{number} {WORDS}",
        "max_tokens": tokens,
        "seed": number,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    content = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {place[0]}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    reader, writer = await asyncio.open_connection(*place)
    started, found = time.perf_counter(), Stream()
    writer.write(head.encode() + content)
    async for line in reader:
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line.removeprefix(b"data: "))
        if not found.first:
            found.first = time.perf_counter() - started
        if chunk["usage"]:
            found.tokens = chunk["usage"]["completion_tokens"]
    writer.close()
    return found


async def together(place: tuple[str, int], clients: int, tokens: int) -> list[Stream]:
    """All at once."""
    return list(await asyncio.gather(*(ask(place, number, tokens) for number in range(clients))))


async def in_turn(place: tuple[str, int], clients: int, tokens: int) -> list[Stream]:
    """One after the other."""
    return [await ask(place, number, tokens) for number in range(clients)]


def rate(way: str, place: tuple[str, int], clients: int, tokens: int) -> tuple[float, Sequence[Stream]]:
    """Tokens a second, and what each client got."""
    started = time.perf_counter()
    streams = asyncio.run((together if way == "together" else in_turn)(place, clients, tokens))
    return sum(stream.tokens for stream in streams) / (time.perf_counter() - started), streams


def main() -> int:
    """Print the table and the ratio; 1 where it is below `--at-least`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--at-least", type=float, default=0.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"{options.clients} clients, {options.tokens} tokens each, {options.slots} slots")
    print(f"{'':<10}{'':<12}{'tokens/s':>10}{'lowest':>10}{'highest':>10}{'first text':>12}{'longest':>10}")
    ratios = []
    for shape, sizes in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            run = make_run(Path(folder) / "run", sizes, 256)
            found: dict[str, list[float]] = {"in turn": [], "together": []}
            waits: dict[str, list[float]] = {way: [] for way in found}
            with server(run, options.slots, options.clients) as place:
                rate("together", place, options.slots, 4)  # what is loaded late is loaded now
                for _ in range(options.repeats):
                    for way, rates in found.items():
                        one, streams = rate(way, place, options.clients, options.tokens)
                        rates.append(one)
                        waits[way] += [stream.first for stream in streams]
            for way, rates in found.items():
                print(
                    f"{shape:<10}{way:<12}{statistics.median(rates):>10.0f}{min(rates):>10.0f}{max(rates):>10.0f}"
                    f"{statistics.median(waits[way]):>11.3f}s{max(waits[way]):>9.3f}s"
                )
            ratios.append(statistics.median(found["together"]) / statistics.median(found["in turn"]))
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, one thread")
    mean = statistics.geometric_mean(ratios)
    print(f"serve ratio={mean:.2f}")
    return int(mean < options.at_least)


if __name__ == "__main__":
    sys.exit(main())
