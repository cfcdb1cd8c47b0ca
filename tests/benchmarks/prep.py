"""Data preparation beside datatrove, on the same pages, in one run.

    python -m tests.benchmarks.prep [--pages 400] [--crawl 1000] [--repeats 2] [--at-least 3]

Needs ../shared/data/web_pages and datatrove (`pip install -e '.[bench]'`). In one process, by processor
time: the FineWeb filters on extracted texts, MinHash signatures (14 x 8, word 5-grams), extraction with
language and filters, and our rate from kept documents to shards. Then both pipelines whole, by the clock: a
crawl of WARC files to kept documents on disk with the same steps on two workers, and ours on one. Of each
pipeline's time, what it takes for a crawl of 64 pages is taken off, which is mostly the start of its
processes; the seconds in all are printed too, and the ratio with both starts counted. datatrove reads WARC
files with our reader, which is quicker than its own. Also prints how the filters' verdicts differ, with
datatrove's word splitter and with ours in its place. The ratio is that of the whole pipelines on two workers.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data_prep.config import CorpusConfig, NearDedupConfig, TokenizerConfig
from data_prep.contract.dataset import token_dtype
from data_prep.dedup.minhash import MinHash
from data_prep.documents import Page, normalise, write_table
from data_prep.extract.html import ExtractionError, decode, extract
from data_prep.filters import words as word_rule
from data_prep.filters.gopher import STOP_WORDS
from data_prep.filters.rules import judge, rules
from data_prep.filters.tag import signaller, tag_settings
from data_prep.parts import Part, do_part
from data_prep.shards import build
from data_prep.sources import warc
from data_prep.sources.files import find_local
from data_prep.storage import Storage
from data_prep.tokenize.encode import encode
from data_prep.tokenize.train import train_model
from tests.benchmarks.crawls import (
    FILTERS,
    FINEWEB_C4,
    Pipeline,
    crawl_rates,
    our_crawl,
    their_crawl,
    their_steps,
)

WORKERS = 2
DATA = Path(__file__).parents[3] / "shared" / "data" / "web_pages"


def read_pages(step: int) -> list[Page]:
    """Every so manieth page of the three archives, so that languages and sites mix."""
    found = [
        page
        for archive in find_local(str(DATA), (".warc",)).files
        for page in warc.read(archive, 10_000_000)
        if isinstance(page, Page)
    ]
    return found[::step]


def our_filters(use: Sequence[str]) -> Callable[[Sequence[str]], list[str]]:
    """A function from texts to the rule that rejects each, or nothing."""
    filters = {"use": list(use), "c4": FINEWEB_C4, "gopher_quality": {"stop_words": sorted(STOP_WORDS)}}
    corpus = CorpusConfig.model_validate({"filters": filters, "dedup": {"near": {"enabled": False}}})
    signals, order = signaller(*tag_settings(corpus)), rules(corpus.filters, corpus.decontaminate)

    def verdicts(texts: Sequence[str]) -> list[str]:
        rows = [values | {"characters": len(kept)} for kept, values in (signals("", text) for text in texts)]
        index, _ = judge(pa.Table.from_pylist(rows), order, ["en"])
        return [order[number].name if number >= 0 else "" for number in index]

    return verdicts


def their_filters(use: Sequence[str]) -> Callable[[Sequence[str]], list[str]]:
    """The same as `our_filters` with datatrove's filters in FineWeb's order."""
    from datatrove.data import Document

    chain = their_steps(use)

    def verdict(text: str) -> str:
        document = Document(text=text, id="")
        for step in chain:
            result = step.filter(document)
            if result is not True:
                return str(result[1]) if isinstance(result, tuple) else "language"
        return ""

    return lambda texts: [*map(verdict, texts)]


def our_pages(page: Page) -> str:
    assert isinstance(page.content, bytes)
    try:
        return normalise(extract(page.content, page.charset, "trafilatura"))
    except ExtractionError:
        return ""


def their_pages() -> Callable[[Page], str]:
    from datatrove.pipeline.extractors import Trafilatura

    extractor = Trafilatura()

    def text(page: Page) -> str:
        assert isinstance(page.content, bytes)
        return extractor.extract(decode(page.content, page.charset)) or ""

    return text


def their_minhash() -> Callable[[str], Any]:
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature

    with tempfile.TemporaryDirectory() as folder:
        step = MinhashDedupSignature(folder, MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8))
    return lambda text: step.get_signature(step.get_shingles(text))


def rates(work: Callable[[Any], Any], items: Sequence[Any], repeats: int) -> list[float]:
    """Items per second of processor time, once per repeat; the first item warms up."""
    work(items[:1])
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work(items)
        found.append(len(items) / (time.process_time() - start))
    return found


def tokens_per_second(texts: Sequence[str], repeats: int) -> list[float]:
    """From kept documents on disk to a tar shard in shuffled order, with a unigram model of 16k pieces."""
    size = 16_384
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "tokenizer.model"
        model.write_bytes(train_model(iter(texts), TokenizerConfig(vocabulary_size=size)))
        table = pa.table(
            {"id": pa.array(range(len(texts)), pa.uint64()), "text": pa.array(texts, pa.large_string())}
        )
        table = table.append_column("bytes", pa.array([len(text.encode()) for text in texts], pa.int64()))
        table = table.append_column("split", pa.array(["train"] * len(texts)))
        write_table(folder / "kept.parquet", table)
        arguments = {"kept": folder / "kept.parquet", "model": model, "seed": 1}
        storage = Storage(folder)
        encoded = Part("encode", "part", storage, arguments)
        layout = {"storage": storage, "split": "train", "shard": 0, "shards": 1, "block_tokens": 1 << 20}
        layout |= {"vocabulary_size": size, "tokens": [encoded.path("tokens.npy")]}
        layout |= {"indexes": [encoded.path("index.npy")]}
        found = []
        for _ in range(repeats):
            start = time.process_time()
            do_part(encode, encoded)
            do_part(build.build, Part("shards", "shard", storage, layout))
            seconds = time.process_time() - start
            tokens = np.load(encoded.path("tokens.npy"), mmap_mode="r")
            assert tokens.dtype == token_dtype(size)
            found.append(len(tokens) / seconds)
    return found


def compare(texts: Sequence[str]) -> None:
    """Print where the filters' verdicts differ, and between which rules."""
    from datatrove.pipeline.filters import (
        fineweb_quality_filter,
        gopher_quality_filter,
        gopher_repetition_filter,
    )

    mine = our_filters(FILTERS[1:])(texts)
    for name in ("its own words", "our words"):
        if name == "our words":
            for module in (fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter):
                module.split_into_words = lambda text, language="": word_rule.words_of(text)
        theirs = their_filters(FILTERS[1:])(texts)
        differ = [pair for pair in zip(mine, theirs, strict=True) if bool(pair[0]) != bool(pair[1])]
        kept = sum(not one for one in mine), sum(not one for one in theirs)
        print(f"datatrove with {name}: kept {kept[0]} and {kept[1]}; {len(differ)} of {len(texts)} differ")
        for (one, other), count in Counter(differ).most_common(5):
            print(f"    {count:>4}  ours: {one or 'kept':<32} theirs: {other or 'kept'}")


def show(step: str, ours: Sequence[float], theirs: Sequence[float] | None, unit: str = "") -> float:
    """Print a row of the table: medians, their ratio, the spread over the repeats. Returns the ratio."""
    mine, peer = statistics.median(ours), statistics.median(theirs) if theirs else 0.0
    spread = " ".join(f"{max(found) / min(found) - 1:.0%}" for found in (ours, theirs) if found)
    beside = f"{peer:>12.1f} {mine / peer:>7.2f}" if theirs else f"{'':>12} {'':>7}"
    print(f"{step:<26} {mine:>12,.1f} {beside}   {spread} {unit}")
    return mine / peer if theirs else 0.0


def one_process(pages: Sequence[Page], repeats: int) -> list[str]:
    """Print the steps one by one; returns the texts."""
    texts = [text for text in map(our_pages, pages) if text]
    print(f"{len(pages)} pages, {len(texts)} texts of {sum(map(len, texts)) // len(texts)} characters")
    filters, theirs = our_filters(FILTERS), their_filters(FILTERS)
    extracted, minhash, their_hash = their_pages(), MinHash(NearDedupConfig()), their_minhash()
    steps: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], Sequence[Any]]] = {
        "filters, no language": (our_filters(FILTERS[1:]), their_filters(FILTERS[1:]), texts),
        "MinHash 14 x 8": (
            lambda items: [*map(minhash.bands, items)],
            lambda items: [*map(their_hash, items)],
            texts,
        ),
        "pages to kept, one process": (
            lambda items: filters([*map(our_pages, items)]),
            lambda items: theirs([*map(extracted, items)]),
            pages,
        ),
    }
    print(f"{'step':<26} {'ours/s':>12} {'datatrove/s':>12} {'ratio':>7}   spread of {repeats} runs")
    for name, (our, their, items) in steps.items():
        show(name, rates(our, items, repeats), rates(their, items, repeats))
    show("documents to shards", tokens_per_second(texts, repeats), None, "tokens/s/core")
    return texts


def two_workers(pages: Sequence[Page], repeats: int) -> float:
    """Print the whole pipelines; returns their ratio."""
    pipelines: list[tuple[Pipeline, int]] = [(our_crawl, WORKERS), (their_crawl, WORKERS), (our_crawl, 1)]
    two, theirs, one = crawl_rates(pages, pipelines, repeats)
    ratio = show(
        f"{len(pages)} pages, 2 workers", two.rates, theirs.rates, f"(kept {two.kept} and {theirs.kept})"
    )
    show("... ours, 1 worker", one.rates, None)
    for name, crawled in (
        ("ours, 2 workers", two),
        ("datatrove, 2 workers", theirs),
        ("ours, 1 worker", one),
    ):
        print(crawled.line(name))
    whole = statistics.median(theirs.seconds) / statistics.median(two.seconds)
    print(f"with the start of both counted: {whole:.2f} times datatrove")
    print(f"two workers to one: {statistics.median(two.rates) / statistics.median(one.rates):.2f}")
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=400, help="pages for the steps one by one")
    parser.add_argument("--crawl", type=int, default=1000, help="pages for the whole pipelines")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--at-least", type=float, default=0.0)
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA}: not on this machine")
    compare(one_process(read_pages(3)[: arguments.pages], arguments.repeats))
    ratio = two_workers(read_pages(1)[: arguments.crawl], arguments.repeats)
    print(f"prep ratio={ratio:.2f}")
    sys.exit(ratio < arguments.at_least)


if __name__ == "__main__":
    main()
