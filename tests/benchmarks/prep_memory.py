"""Peak memory of data preparation on a corpus and on one ten times as large.

    python -m tests.benchmarks.prep_memory [--pages 300] [--times 10] [--at-least 0.77]

Needs ../shared/data/web_pages. The corpus is WARC files of pages made of the texts there, every file of 50
pages a part; the larger one has further files of altered copies, a tenth of them near-duplicates. The whole
preparation runs on two workers, with every filter and exact, near and line deduplication. Shown is the
largest resident size that each kind of process reached: the driver, a worker, its extractor, and Ray's own
processes. The ratio is the smallest of those of driver, worker and extractor on the small corpus to those on
the large one: 0.77 is growth by 1.3.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from data_prep.documents import Page
from tests.benchmarks.crawls import FINEWEB_C4, write_crawl
from tests.benchmarks.prep import DATA, our_pages, read_pages

PAGES_PER_FILE = 50
PROGRAM = """
import sys
from pathlib import Path
from data_prep.config import PrepConfig
from data_prep.run import prepare
from data_prep.storage import Storage
if __name__ == "__main__":
    config, storage = PrepConfig.model_validate_json(sys.argv[1]), Storage(Path(sys.argv[2]))
    receipt = prepare(config, storage, lambda line: None)
    print(receipt.counts["train_documents"], receipt.counts["train_tokens"])
"""


def altered(text: str, draw: random.Random) -> str:
    """A copy that says something else in the same words; one in ten says nearly the same."""
    if draw.random() < 0.1:
        return text + " This is a copy."
    sentences = text.split(". ")
    for number, sentence in enumerate(sentences):
        words = sentence.split(" ")
        draw.shuffle(words)
        sentences[number] = " ".join(words)
    return ". ".join(sentences)


def pages_of(texts: Sequence[str], times: int) -> Iterator[Page]:
    """The texts as pages, and altered copies of them."""
    draw = random.Random(5)
    for copy in range(times):
        for number, text in enumerate(texts):
            said = altered(text, draw) if copy else text
            paragraphs = "".join(f"<p>{line}</p>" for line in said.split("\n"))
            page = f"<html><body><nav>Home</nav><article>{paragraphs}</article></body></html>"
            yield Page("", 0, page.encode(), f"http://x.test/{copy}/{number}")


def peaks(crawl: Path, out: Path) -> tuple[dict[str, float], str]:
    """The largest resident size of each kind of process in MB, and what the preparation printed."""
    corpus = {"kind": "warc", "paths": [str(crawl)], "part_bytes": 1, "workers": 2}
    corpus["filters"] = {"use": ["gopher_repetition", "gopher_quality", "c4", "fineweb"], "c4": FINEWEB_C4}
    corpus["dedup"] = {"lines": {"enabled": True}}
    tokenizer = {"kind": "bpe", "vocabulary_size": 2000, "sample_bytes": 500_000}
    config = json.dumps({"corpus": corpus, "tokenizer": tokenizer})
    command = [sys.executable, "-c", PROGRAM, config, str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found: dict[str, float] = defaultdict(float)
    while process.poll() is None:
        for child in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            kind, size = peak(child, process.pid)
            found[kind] = max(found[kind], size)
        time.sleep(0.2)
    output, _ = process.communicate()
    if process.returncode:
        sys.exit(output)
    return found, output.splitlines()[-1]


def peak(process: psutil.Process, driver: int) -> tuple[str, float]:
    """What a process is, and the largest resident size that it had so far, in MB."""
    try:
        command = " ".join(process.cmdline())
        status = Path(f"/proc/{process.pid}/status").read_text()
    except (psutil.Error, OSError):
        return "ray", 0.0
    [size] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")] or ["0"]
    kind = "ray"
    if process.pid == driver:
        kind = "driver"
    elif "data_prep.extract.worker" in command:
        kind = "extractor"
    elif command.startswith("ray::"):
        kind = "worker"
    return kind, int(size) / 1e3


def measure(texts: Sequence[str], times: int, folder: Path) -> dict[str, float]:
    """The peaks for a corpus of so many copies of the texts."""
    pages = list(pages_of(texts, times))
    crawl = write_crawl(folder / f"crawl-{times}", pages, len(pages) // PAGES_PER_FILE)
    found, output = peaks(crawl, folder / f"out-{times}")
    print(f"{len(pages):>6} pages: documents and tokens {output}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--at-least", type=float, default=0.0)
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA}: not on this machine")
    texts = [text for text in map(our_pages, read_pages(4)[: arguments.pages]) if text]
    with tempfile.TemporaryDirectory() as name:
        small, large = (measure(texts, times, Path(name)) for times in (1, arguments.times))
    print(f"{'largest resident size':<24} {'1x MB':>9} {f'{arguments.times}x MB':>9} {'growth':>8}")
    for kind in ("driver", "worker", "extractor", "ray"):
        print(f"{kind:<24} {small[kind]:>9.0f} {large[kind]:>9.0f} {large[kind] / small[kind]:>8.2f}")
    ratio = min(small[kind] / large[kind] for kind in ("driver", "worker", "extractor"))
    print(f"prep_memory ratio={ratio:.3f}")
    sys.exit(ratio < arguments.at_least)


if __name__ == "__main__":
    main()
