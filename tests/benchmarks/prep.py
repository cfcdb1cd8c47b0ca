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
import functools
import io
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data_prep.cluster import Cluster
from data_prep.config import CorpusConfig, NearDedupConfig, PrepConfig, TokenizerConfig
from data_prep.contract.dataset import token_dtype
from data_prep.dedup.minhash import MinHash
from data_prep.documents import Page, normalise, write_table
from data_prep.extract.html import ExtractionError, decode, extract
from data_prep.filters import words as word_rule
from data_prep.filters.rules import judge, rules
from data_prep.filters.tag import signaller, tag_settings
from data_prep.parts import Part, do_part
from data_prep.preparation import Preparation
from data_prep.shards import build
from data_prep.sources import list_files, warc
from data_prep.sources.files import find_local
from data_prep.storage import Storage
from data_prep.tokenize.encode import encode
from data_prep.tokenize.train import train_model

DATA = Path(__file__).parents[3] / "shared" / "data" / "web_pages"
FILTERS = ["language", "gopher_repetition", "gopher_quality", "c4", "fineweb"]
FILES, WORKERS = 8, 2
FEW_PAGES = 64
FINEWEB_C4 = {"terminal_punctuation": False, "min_line_words": 3, "min_sentences": 5}


def read_pages(step: int) -> list[Page]:
    """Every so manieth page of the three archives, so that languages and sites mix."""
    found = [
        page
        for archive in find_local(str(DATA), (".warc",))
        for page in warc.read(archive, 10_000_000)
        if isinstance(page, Page)
    ]
    return found[::step]


def our_filters(use: Sequence[str]) -> Callable[[Sequence[str]], list[str]]:
    """A function from texts to the rule that rejects each, or nothing."""
    corpus = CorpusConfig.model_validate(
        {"filters": {"use": list(use), "c4": FINEWEB_C4}, "dedup": {"near": {"enabled": False}}}
    )
    signals, order = signaller(*tag_settings(corpus)), rules(corpus.filters, corpus.decontaminate)

    def verdicts(texts: Sequence[str]) -> list[str]:
        rows = [values | {"characters": len(kept)} for kept, values in (signals("", text) for text in texts)]
        index, _ = judge(pa.Table.from_pylist(rows), order, ["en"])
        return [order[number].name if number >= 0 else "" for number in index]

    return verdicts


def their_steps(use: Sequence[str]) -> list[Any]:
    """datatrove's filters of these names."""
    from datatrove.pipeline import filters

    makers = {
        "language": lambda: filters.LambdaFilter(lambda doc: our_language(doc.text)),
        "gopher_repetition": filters.GopherRepetitionFilter,
        "gopher_quality": filters.GopherQualityFilter,
        "c4": lambda: filters.C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": filters.FineWebQualityFilter,
    }
    return [makers[name]() for name in use]


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


def our_language(text: str) -> bool:
    """datatrove's own language filter downloads its model, so both get ours."""
    from data_prep.filters.language import detect

    language, score = detect(text)
    return language == "en" and score >= 0.65


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


def write_crawl(folder: Path, pages: Sequence[Page], files: int = FILES) -> Path:
    """The pages as WARC files of HTTP responses."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    folder.mkdir()
    for number in range(files):
        with (folder / f"{number}.warc.gz").open("wb") as file:
            writer = WARCWriter(file, gzip=True)
            for page in pages[number::files]:
                assert isinstance(page.content, bytes)
                text = decode(page.content, page.charset).encode("utf-8", "replace")
                headers = [("Content-Type", "text/html; charset=utf-8")]
                http = StatusAndHeaders("200 OK", headers, protocol="HTTP/1.1")
                record = writer.create_warc_record(
                    page.url or "http://x.test/", "response", payload=io.BytesIO(text), http_headers=http
                )
                writer.write_record(record)
    return folder


def our_crawl(crawl: Path, out: Path, workers: int) -> int:
    """Our pipeline from WARC files to kept documents; how many there are."""
    corpus = {"kind": "warc", "paths": [str(crawl)], "part_bytes": 1, "pii": False}
    corpus["filters"] = {"use": FILTERS, "c4": FINEWEB_C4}
    corpus["dedup"] = {"exact": False, "near": {"enabled": False}}
    config = PrepConfig.model_validate({"corpus": corpus})
    with Cluster(workers) as cluster:
        run = Preparation(config, Storage(out), cluster.execute, lambda line: None, cluster.start)
        kept = run.decide(run.tag_and_judge(run.collect(list_files(config.corpus))))
    return sum(
        part.counts["splits"][split]["documents"] for part in kept for split in ("train", "validation")
    )


def their_reader(folder: str, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
    """A first step of datatrove: the pages of a task's share of the files."""
    from datatrove.data import Document

    for archive in find_local(folder, (".warc",))[rank::world_size]:
        for page in warc.read(archive, 10_000_000):
            if isinstance(page, Page) and isinstance(page.content, bytes):
                yield Document(text=decode(page.content, page.charset), id=f"{archive.name}/{page.offset}")


@contextmanager
def without_messages() -> Iterator[None]:
    """Without what this process and its children write to standard error."""
    error = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(error, 2)
        os.close(error)


def their_crawl(crawl: Path, out: Path, workers: int) -> int:
    """datatrove's, with the same steps."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.writers import ParquetWriter

    steps: list[Any] = [
        functools.partial(their_reader, str(crawl)),
        Trafilatura(timeout=10),
        *their_steps(FILTERS),
    ]
    steps.append(ParquetWriter(str(out / "kept")))
    executor = LocalPipelineExecutor(
        steps, tasks=FILES, workers=workers, logging_dir=str(out / "logs"), skip_completed=False
    )
    with without_messages():
        stats = executor.run()
    return int(stats.stats[-1].stats["total"].total)


Pipeline = Callable[[Path, Path, int], int]


@dataclass(frozen=True)
class Crawled:
    """What a pipeline took for a crawl, by the clock."""

    pages: int
    kept: int
    start: float
    """Seconds for the few pages, the median over the repeats."""
    seconds: list[float]
    """Seconds for all pages, by repeat, with the start of its processes."""

    @property
    def rates(self) -> list[float]:
        """Pages per second without the start."""
        return [(self.pages - FEW_PAGES) / (spent - self.start) for spent in self.seconds]

    def line(self, name: str) -> str:
        """The absolute figures."""
        spent = statistics.median(self.seconds)
        return f"{name}: {spent:.1f} s in all, of these {self.start:.1f} s for {FEW_PAGES} pages"


def crawl_rates(
    pages: Sequence[Page], pipelines: Sequence[tuple[Pipeline, int]], repeats: int
) -> list[Crawled]:
    """What each pipeline takes with a number of workers: pipelines by turns, few pages and all of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        crawl, small = write_crawl(folder / "crawl", pages), write_crawl(folder / "small", pages[:FEW_PAGES])

        def seconds(pipeline: Pipeline, crawl: Path, workers: int) -> tuple[float, int]:
            with tempfile.TemporaryDirectory(dir=folder) as out:
                start = time.perf_counter()
                kept = pipeline(crawl, Path(out), workers)
                return time.perf_counter() - start, kept

        starts: list[list[float]] = [[] for _ in pipelines]
        whole: list[list[tuple[float, int]]] = [[] for _ in pipelines]
        for _ in range(repeats):
            for (pipeline, workers), few, all_of_them in zip(pipelines, starts, whole, strict=True):
                few.append(seconds(pipeline, small, workers)[0])
                all_of_them.append(seconds(pipeline, crawl, workers))
        return [
            Crawled(len(pages), found[-1][1], statistics.median(few), [spent for spent, _ in found])
            for few, found in zip(starts, whole, strict=True)
        ]


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
                module.split_into_words = lambda text, language="": word_rule.WORD.findall(text)
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
