"""Whole pipelines from WARC files to kept documents, ours and datatrove's, with the same steps."""

import functools
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.cluster import Cluster
from data_prep.config import PrepConfig
from data_prep.documents import Page
from data_prep.extract.html import decode
from data_prep.preparation import Preparation
from data_prep.sources import list_files, warc
from data_prep.sources.files import find_local
from data_prep.storage import Storage

FILTERS = ["language", "gopher_repetition", "gopher_quality", "c4", "fineweb"]
FILES = 8
FEW_PAGES = 64
FINEWEB_C4 = {"terminal_punctuation": False, "min_line_words": 3, "min_sentences": 5}


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

    for archive in find_local(folder, (".warc",)).files[rank::world_size]:
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


def our_language(text: str) -> bool:
    """datatrove's own language filter downloads its model, so both get ours."""
    from data_prep.filters.language import detect

    language, score = detect(text)
    return language == "en" and score >= 0.65
