"""Data preparation beside datatrove, one process, the same pages, processor time.

    python -m tests.benchmarks.prep [--pages 400] [--repeats 3] [--at-least 3]

Needs ../shared/data/web_pages and datatrove (`pip install -e '.[bench]'`). Steps: the FineWeb filters on
extracted texts, MinHash signatures (14 x 8, word 5-grams), and pages to kept documents (extraction,
language, filters). Also prints how the two filters' verdicts differ, with datatrove's word splitter and with
ours in its place, and our rate from texts to shards. The ratio is that of pages to kept documents.
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
from data_prep.dedup.minhash import MinHash
from data_prep.documents import Page, normalise, write_table
from data_prep.extract.html import ExtractionError, decode, extract
from data_prep.filters import words as word_rule
from data_prep.filters.rules import judge, rules
from data_prep.filters.tag import signaller, tag_settings
from data_prep.sources import warc
from data_prep.sources.files import find_local
from data_prep.tokenize.encode import encode
from data_prep.tokenize.train import train_model

DATA = Path(__file__).parents[3] / "shared" / "data" / "web_pages"
FILTERS = ["language", "gopher_repetition", "gopher_quality", "c4", "fineweb"]
FINEWEB_C4 = {"terminal_punctuation": False, "min_line_words": 3, "min_sentences": 5}


def read_pages(limit: int) -> list[Page]:
    """Every third page of the three archives, so that languages and sites mix."""
    found = [
        page
        for archive in find_local(str(DATA), (".warc",))
        for page in warc.read(archive, 10_000_000)
        if isinstance(page, Page)
    ]
    return found[::3][:limit]


def our_filters(use: Sequence[str]) -> Callable[[str], str]:
    """A function from a text to the rule that rejects it, or nothing."""
    corpus = CorpusConfig.model_validate(
        {"filters": {"use": list(use), "c4": FINEWEB_C4}, "dedup": {"near": {"enabled": False}}}
    )
    signals, order = signaller(*tag_settings(corpus)), rules(corpus.filters, corpus.decontaminate)

    def verdict(text: str) -> str:
        kept, values = signals("", text)
        table = pa.table({name: [value] for name, value in (values | {"characters": len(kept)}).items()})
        index, _ = judge(table, order, ["en"])
        return order[index[0]].name if index[0] >= 0 else ""

    return verdict


def their_filters(use: Sequence[str]) -> Callable[[str], str]:
    """The same with datatrove's filters in FineWeb's order."""
    from datatrove.data import Document
    from datatrove.pipeline import filters

    makers = {
        "language": lambda: filters.LambdaFilter(lambda doc: our_language(doc.text)),
        "gopher_repetition": filters.GopherRepetitionFilter,
        "gopher_quality": filters.GopherQualityFilter,
        "c4": lambda: filters.C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": filters.FineWebQualityFilter,
    }
    chain = [makers[name]() for name in use]

    def verdict(text: str) -> str:
        document = Document(text=text, id="")
        for step in chain:
            result = step.filter(document)
            if result is not True:
                return str(result[1]) if isinstance(result, tuple) else "language"
        return ""

    return verdict


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
    """Items per second of processor time, once per repeat; the first item warms up and is not counted."""
    work(items[0])
    found = []
    for _ in range(repeats):
        start = time.process_time()
        for item in items:
            work(item)
        found.append(len(items) / (time.process_time() - start))
    return found


def tokens_per_second(texts: Sequence[str], repeats: int) -> list[float]:
    """From kept documents on disk to tokens in shuffled order on disk, with a unigram model of 16k pieces."""
    from data_prep.parts import Part, do_part
    from data_prep.storage import Storage

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = TokenizerConfig(vocabulary_size=16_384)
        (folder / "tokenizer.model").write_bytes(train_model(iter(texts), config))
        table = pa.table(
            {"id": pa.array(range(len(texts)), pa.uint64()), "text": pa.array(texts, pa.large_string())}
        )
        table = table.append_column("bytes", pa.array([len(text.encode()) for text in texts], pa.int64()))
        table = table.append_column("split", pa.array(["train"] * len(texts)))
        write_table(folder / "kept.parquet", table)
        arguments = {"kept": folder / "kept.parquet", "model": folder / "tokenizer.model", "seed": 1}
        found = []
        for _ in range(repeats):
            start = time.process_time()
            part = Part("encode", "part", Storage(folder), arguments)
            do_part(encode, part)
            tokens = len(np.load(part.path("tokens.npy"), mmap_mode="r"))
            found.append(tokens / (time.process_time() - start))
    return found


def compare(texts: Sequence[str]) -> None:
    """Print where the filters' verdicts differ, and between which rules."""
    from datatrove.pipeline.filters import (
        fineweb_quality_filter,
        gopher_quality_filter,
        gopher_repetition_filter,
    )

    mine = [our_filters(FILTERS[1:])(text) for text in texts]
    for name in ("its own words", "our words"):
        if name == "our words":
            for module in (fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter):
                module.split_into_words = lambda text, language="": word_rule.WORD.findall(text)
        theirs = [their_filters(FILTERS[1:])(text) for text in texts]
        differ = [pair for pair in zip(mine, theirs, strict=True) if bool(pair[0]) != bool(pair[1])]
        kept = sum(not one for one in mine), sum(not one for one in theirs)
        print(f"datatrove with {name}: kept {kept[0]} and {kept[1]}; {len(differ)} of {len(texts)} differ")
        for (one, other), count in Counter(differ).most_common(5):
            print(f"    {count:>4}  ours: {one or 'kept':<32} theirs: {other or 'kept'}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--at-least", type=float, default=0.0)
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA}: not on this machine")
    pages = read_pages(arguments.pages)
    texts = [text for text in map(our_pages, pages) if text]
    filters, theirs = our_filters(FILTERS), their_filters(FILTERS)
    extracted, minhash = their_pages(), MinHash(NearDedupConfig())
    steps: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], Sequence[Any]]] = {
        "filters, no language": (our_filters(FILTERS[1:]), their_filters(FILTERS[1:]), texts),
        "MinHash 14 x 8": (minhash.bands, their_minhash(), texts),
        "pages to kept": (lambda page: filters(our_pages(page)), lambda page: theirs(extracted(page)), pages),
    }
    print(f"{len(pages)} pages, {len(texts)} texts of {sum(map(len, texts)) // len(texts)} characters")
    print(
        f"{'step':<22} {'ours/s':>10} {'datatrove/s':>12} {'ratio':>7}   spread of {arguments.repeats} runs"
    )
    ratio = 0.0
    for name, (our, their, items) in steps.items():
        one, other = rates(our, items, arguments.repeats), rates(their, items, arguments.repeats)
        ratio = statistics.median(one) / statistics.median(other)
        spread = " ".join(f"{max(found) / min(found) - 1:.0%}" for found in (one, other))
        mine, peer = statistics.median(one), statistics.median(other)
        print(f"{name:<22} {mine:>10.1f} {peer:>12.1f} {ratio:>7.2f}   {spread}")
    tokens = tokens_per_second(texts, arguments.repeats)
    print(f"{'texts to tokens':<22} {statistics.median(tokens) / 1e6:>9.2f}M tokens/s/core")
    compare(texts)
    print(f"prep ratio={ratio:.2f}")
    sys.exit(ratio < arguments.at_least)


if __name__ == "__main__":
    main()
