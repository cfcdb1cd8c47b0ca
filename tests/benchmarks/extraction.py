"""How well the main text of pages is found: against ground truth, beside plain trafilatura.

    python -m tests.benchmarks.extraction [--pages 300] [--at-least 0.99]

Reads trafilatura's evaluation pages (snippets that belong to the text and snippets that do not: F1 over
snippets) and Mozilla's readability pages (the expected text: F1 over its words) from ../shared/data. The
ratio is our default extractor's F1 over snippets to that of trafilatura with its own defaults.
"""

import argparse
import json
import lzma
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from data_prep.documents import Page, normalise
from data_prep.extract.html import ExtractionError, decode, extract
from data_prep.sources import warc
from data_prep.sources.files import find_local

DATA = Path(__file__).parents[3] / "shared" / "data" / "web_pages"
Extract = Callable[[Page], str]


def pages(name: str, limit: int) -> Iterator[tuple[Page, dict[str, Any]]]:
    """Pages with their ground truth."""
    with lzma.open(DATA / f"{name}.gt.jsonl.xz", "rt") as file:
        truth = {row["url"]: row for row in map(json.loads, file)}
    [archive] = find_local(str(next(DATA.glob(f"{name}.warc.*"))), ()).files
    found = (page for page in warc.read(archive, 10_000_000) if isinstance(page, Page))
    known = ((page, truth[page.url]) for page in found if page.url in truth)
    yield from (pair for _, pair in zip(range(limit), known, strict=False))


def snippet_counts(text: str, truth: dict[str, Any]) -> Counter[str]:
    """True and false positives and false negatives over the snippets of a page."""
    flat = " ".join(text.split())
    wanted = [" ".join(snippet.split()) in flat for snippet in truth["with"]]
    unwanted = [" ".join(snippet.split()) in flat for snippet in truth["without"]]
    return Counter(found=sum(wanted), missed=len(wanted) - sum(wanted), wrong=sum(unwanted))


def word_counts(text: str, truth: dict[str, Any]) -> Counter[str]:
    """The same over the words of the expected text."""
    expected = Counter(re.findall(r"\w+", re.sub(r"<[^>]+>", " ", truth["expected_html"])))
    got = Counter(re.findall(r"\w+", text))
    both = (expected & got).total()
    return Counter(found=both, missed=expected.total() - both, wrong=got.total() - both)


def f1(counts: Counter[str]) -> float:
    return 2 * counts["found"] / max(2 * counts["found"] + counts["missed"] + counts["wrong"], 1)


def ours(engine: str) -> Extract:
    def text(page: Page) -> str:
        assert isinstance(page.content, bytes)
        try:
            return normalise(extract(page.content, page.charset, engine))
        except ExtractionError:
            return ""

    return text


def plain_trafilatura(**options: Any) -> Extract:
    def text(page: Page) -> str:
        import trafilatura

        assert isinstance(page.content, bytes)
        return trafilatura.extract(decode(page.content, page.charset), **options) or ""

    return text


def measure(
    text: Extract, sets: Sequence[tuple[list[tuple[Page, dict[str, Any]]], Any]]
) -> tuple[list[float], float]:
    """F1 on each set of pages, and pages per second of processor time."""
    start, number, scores = time.process_time(), 0, []
    for found, counts in sets:
        total: Counter[str] = Counter()
        for page, truth in found:
            total += counts(text(page), truth)
            number += 1
        scores.append(f1(total))
    return scores, number / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=300, help="pages of each set")
    parser.add_argument("--at-least", type=float, default=0.0)
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA}: not on this machine")
    sets = [
        (list(pages("trafilatura_eval", arguments.pages)), snippet_counts),
        (list(pages("readability", arguments.pages)), word_counts),
    ]
    extractors = {
        "bloomery, trafilatura": ours("trafilatura"),
        "bloomery, resiliparse": ours("resiliparse"),
        "trafilatura, its defaults": plain_trafilatura(),
        "trafilatura, fast": plain_trafilatura(fast=True, include_comments=False),
    }
    print(f"pages: {[len(found) for found, _ in sets]}")
    print(f"{'extractor':<28} {'F1 snippets':>12} {'F1 words':>10} {'pages/s':>9}")
    scores = {}
    for name, text in extractors.items():
        values, rate = measure(text, sets)
        scores[name] = values[0]
        print(f"{name:<28} {values[0]:>12.3f} {values[1]:>10.3f} {rate:>9.1f}")
    same = [
        extractors["bloomery, trafilatura"](page) == normalise(extractors["trafilatura, fast"](page))
        for found, _ in sets
        for page, _ in found
    ]
    print(f"pages with the very text of trafilatura, fast: {sum(same)} of {len(same)}")
    ratio = scores["bloomery, trafilatura"] / scores["trafilatura, its defaults"]
    print(f"extraction ratio={ratio:.3f}")
    sys.exit(ratio < arguments.at_least)


if __name__ == "__main__":
    main()
