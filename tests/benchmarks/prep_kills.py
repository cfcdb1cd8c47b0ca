"""Data preparation that is killed again and again ends with the bytes of an undisturbed one.

    python -m tests.benchmarks.prep_kills [--kills 10] [--seed 0] [--at-least 1]

A crawl of made-up HTML pages is prepared on two workers, with every kind of deduplication: once undisturbed,
then with SIGKILLs at random moments, in turn to the driver with all that it started (the same command is
given again) and to one of its workers or their extractors (which the run has to survive). A preparation that
ends before its next kill has to be the same too, and another one begins. The ratio is the share of the
dataset's files that are the same at the end.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from data_prep.documents import Page
from tests.benchmarks.crawls import write_crawl
from tests.data_prep.helpers import fingerprints, story
from tests.data_prep.test_run import PROGRAM

FILES, PAGES = 16, 800
LATEST = 0.9
"""Share of an undisturbed preparation after which the next kill comes at the latest."""
Process = subprocess.Popen[str]


def pages() -> list[Page]:
    """Stories as HTML pages; every tenth is told twice, and all have a notice."""
    texts = [story(seed if seed % 10 else seed // 2, 200) for seed in range(PAGES)]
    notice = "<p>All rights are reserved by the office of the old harbour.</p>"
    bodies = ["".join(f"<p>{line}</p>" for line in text.split("\n")) + notice for text in texts]
    return [
        Page("", 0, f"<html><body><article>{body}</article></body></html>".encode(), f"http://x.test/{n}")
        for n, body in enumerate(bodies)
    ]


def start(crawl: Path, out: Path) -> Process:
    corpus = {"kind": "warc", "paths": [str(crawl)], "part_bytes": 1, "workers": 2, "validation_share": 0.05}
    corpus["filters"] = {"use": ["gopher_quality"]}
    corpus["dedup"] = {"lines": {"enabled": True}}
    config = json.dumps({"corpus": corpus, "tokenizer": {"kind": "bpe", "vocabulary_size": 500}})
    command = [sys.executable, "-c", PROGRAM, config, str(out), ""]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process: Process) -> None:
    output, _ = process.communicate()
    if process.returncode:
        sys.exit(f"the preparation ended with status {process.returncode}:\n{output}")


def ended_within(process: Process, seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def kill_driver(process: Process) -> str:
    """Kill the driver and everything that it started."""
    for victim in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        if victim.is_running():
            victim.kill()
    process.communicate()
    return "the driver and all of its processes"


def kill_worker(process: Process, draw: random.Random) -> str:
    """Kill a worker at work or an extractor; nothing where there is none."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            command = " ".join(child.cmdline())
        except psutil.Error:
            continue
        if "data_prep.extract.worker" in command:
            found.append((child, "an extractor"))
        elif command.startswith("ray::Map("):
            found.append((child, f"a worker ({command.split()[0]})"))
    if not found:
        return ""
    victim, name = draw.choice(found)
    victim.kill()
    return name


def disturbed(crawl: Path, out: Path, whole: dict[str, str], kills: int, seconds: float, seed: int) -> None:
    """Prepare with so many kills; `seconds` is what an undisturbed preparation takes."""
    draw = random.Random(seed)
    process, done = start(crawl, out), 0
    while done < kills:
        if ended_within(process, draw.uniform(0.0, LATEST) * seconds):
            finish(process)
            assert fingerprints(out) == whole, "a preparation that ended between kills is another"
            shutil.rmtree(out)
            process = start(crawl, out)
            continue
        victim = kill_worker(process, draw) if done % 2 else kill_driver(process)
        if victim:
            done += 1
            parts = len([*(out / "parts").glob("*/*.json")])
            print(f"{done:>3}. killed {victim} with {parts} parts done", flush=True)
        if process.poll() is not None:
            process = start(crawl, out)
    finish(process)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-least", type=float, default=0.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        crawl = write_crawl(folder / "crawl", pages(), FILES)
        begin = time.perf_counter()
        finish(start(crawl, folder / "undisturbed"))
        seconds = time.perf_counter() - begin
        whole = fingerprints(folder / "undisturbed")
        disturbed(crawl, folder / "disturbed", whole, arguments.kills, seconds, arguments.seed)
        found = fingerprints(folder / "disturbed")
    same = sum(found.get(path) == digest for path, digest in whole.items())
    print(f"{same} of {len(found.keys() | whole.keys())} files are the same (undisturbed: {seconds:.0f} s)")
    ratio = same / len(found.keys() | whole.keys())
    print(f"prep_kills ratio={ratio:.3f}")
    sys.exit(ratio < arguments.at_least)


if __name__ == "__main__":
    main()
