"""Small decisions between the steps: which parts there are, how far to read, which documents are held out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from data_prep.by_part import Places, rows_at
from data_prep.collect import VERSION
from data_prep.config import PrepConfig
from data_prep.contract.receipt import versions
from data_prep.contract.settings import InputError
from data_prep.documents import seeded_order, share_limit
from data_prep.filters.decide import DROP, KEPT
from data_prep.parts import Part, plan
from data_prep.sources.files import InputFile, group_files
from data_prep.storage import Storage

FEW = 50
"""Where fewer held-out documents than this are expected, at least one is made sure of."""


@dataclass(frozen=True)
class Documents:
    """The parts that stand side by side for one group of input files."""

    collected: Part
    tagged: Part
    judged: Part


def total(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """The letters of counts, by name."""
    return sum((Counter(count) for count in counts), Counter[str]())


def text_bytes(collected: Iterable[Part]) -> int:
    """UTF-8 bytes of the documents in these parts."""
    return sum(part.counts["bytes"] for part in collected)


def collect_parts(config: PrepConfig, files: Sequence[InputFile], storage: Storage) -> list[Part]:
    """Groups of input files in a seeded order: at least some dozens where the corpus has that many files."""
    corpus = config.corpus
    settings = corpus.model_dump(mode="json", include={"kind", "text_field", "document_bytes", "extract"})
    if corpus.kind == "letters":
        settings["letters"] = corpus.letters.model_dump(mode="json")
    settings["paths"] = ["-"] if corpus.paths else []  # which files they are is said by the files themselves
    size = min(corpus.part_bytes, max(sum(file.size for file in files) // 64, 1 << 20))
    libraries = versions("fastwarc", "trafilatura", "resiliparse")
    return [
        plan(
            storage,
            "collect",
            VERSION,
            {"files": [vars(file) for file in group], "corpus": settings},
            libraries,
        )
        for group in group_files(files, size, config.seed)
    ]


def wave(done: Sequence[Part], wanted: Sequence[Part], limit: int | None) -> int:
    """How many parts to read next: what the limit needs by the yield so far, and a few to begin with."""
    if limit is None:
        return len(wanted)
    if not text_bytes(done):
        return max(4, len(done))
    each = text_bytes(done) / len(done)
    return max(2, int(1.1 * (limit - text_bytes(done)) / each) + 1)


def validation_below(documents: Sequence[Documents], drops: Mapping[str, Places], config: PrepConfig) -> int:
    """The key below which a document is held out; a small corpus holds out at least one.

    `drops` says where the duplicates are, by the reason for which they go. Raises `InputError` where fewer
    than two documents are left.
    """
    limit = int(share_limit(config.corpus.validation_share))
    kept = sum(part.judged.counts["kept"]["documents"] for part in documents)
    gone = sum(places.rows for places in drops.values())
    if kept - gone < 2:
        rejected = total(part.judged.counts["rejected"] for part in documents)
        reasons = [f"{count} {reason}" for reason, count in rejected.most_common(3)]
        why = ", ".join([*reasons, f"{gone} duplicates"])
        raise InputError(f"corpus: {kept - gone} documents are left, at least 2 are needed; rejected: {why}")
    if (kept - gone) * config.corpus.validation_share >= FEW:
        return limit
    left = [_kept_keys(part, number, drops, config.seed) for number, part in enumerate(documents)]
    keys = np.sort(np.concatenate(left))
    return min(max(limit, int(keys[0]) + 1), int(keys[-1]))


def _kept_keys(part: Documents, number: int, drops: Mapping[str, Places], seed: int) -> Any:
    storage = part.judged.storage
    with storage.open(part.judged.path("verdicts.npy")) as verdicts:
        kept = np.load(verdicts)["rule"] == KEPT
    for places in drops.values():
        kept[rows_at(places.here, places.of(number), DROP)["row"]] = False
    with storage.open(part.tagged.path("signals.parquet")) as signals:
        ids = pq.read_table(signals, columns=["id"])["id"].to_numpy()
    return seeded_order(ids[kept], seed, "split")
