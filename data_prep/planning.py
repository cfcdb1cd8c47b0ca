"""Small decisions between the steps: which parts there are, how far to read, which documents are held out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from data_prep.collect import VERSION
from data_prep.config import PrepConfig
from data_prep.contract.receipt import versions
from data_prep.contract.settings import InputError
from data_prep.documents import seeded_order, share_limit
from data_prep.filters.decide import KEPT
from data_prep.parts import Part, plan
from data_prep.sources.files import InputFile, group_files

ROWS_PER_SHARE = 5_000_000
"""Documents whose hashes one deduplication task holds in memory, about 200 MB."""
FEW = 50
"""Where fewer held-out documents than this are expected, at least one is made sure of."""


@dataclass(frozen=True)
class Documents:
    """The parts that stand side by side for one group of input files."""

    collected: Part
    tagged: Part
    judged: Part


def total(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """The sums of counts, by name."""
    return sum((Counter(count) for count in counts), Counter[str]())


def text_bytes(collected: Iterable[Part]) -> int:
    """UTF-8 bytes of the documents in these parts."""
    return sum(part.counts["bytes"] for part in collected)


def collect_parts(config: PrepConfig, files: Sequence[InputFile], parts_folder: Path) -> list[Part]:
    """Groups of input files in a seeded order: at least some dozens where the corpus has that many files."""
    corpus = config.corpus
    settings = corpus.model_dump(mode="json", include={"kind", "text_field", "document_bytes", "extract"})
    settings["paths"] = ["-"] if corpus.paths else []  # which files they are is said by the files themselves
    size = min(corpus.part_bytes, max(sum(file.size for file in files) // 64, 1 << 20))
    libraries = versions("fastwarc", "trafilatura", "resiliparse")
    return [
        plan(
            parts_folder,
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


def drops_by_part(drops: Mapping[str, Sequence[Path]], parts: int) -> list[dict[str, list[list[int]]]]:
    """For each part and reason the (row, id of the document that stays) of its duplicates, by row."""
    by_part: list[dict[str, list[list[int]]]] = [{reason: [] for reason in drops} for _ in range(parts)]
    for reason, paths in drops.items():
        for path in paths:
            for part, row, kept in np.load(path).tolist():
                by_part[part][reason].append([row, kept])
    for mine in by_part:
        for rows in mine.values():
            rows.sort()
    return by_part


def validation_below(
    documents: Sequence[Documents], drops: Sequence[Mapping[str, list[list[int]]]], config: PrepConfig
) -> int:
    """The key below which a document is held out; a small corpus holds out at least one.

    Raises `InputError` where fewer than two documents are left.
    """
    limit = int(share_limit(config.corpus.validation_share))
    left = sum(part.judged.counts["kept"]["documents"] for part in documents)
    left -= sum(len(rows) for mine in drops for rows in mine.values())
    if left < 2:
        rejected = total(part.judged.counts["rejected"] for part in documents)
        why = ", ".join(f"{count} {reason}" for reason, count in rejected.most_common(3))
        raise InputError(
            f"corpus: {left} documents are left after filters and deduplication, at least 2 are needed "
            f"({why or 'none was rejected by a rule'})"
        )
    if left * config.corpus.validation_share >= FEW:
        return limit
    keys = np.sort(
        np.concatenate([_kept_keys(*pair, config.seed) for pair in zip(documents, drops, strict=True)])
    )
    return min(max(limit, int(keys[0]) + 1), int(keys[-1]))


def _kept_keys(part: Documents, drops: Mapping[str, list[list[int]]], seed: int) -> Any:
    kept = np.load(part.judged.path("verdicts.npy"))["rule"] == KEPT
    for rows in drops.values():
        kept[[row for row, _ in rows]] = False
    ids = pq.read_table(part.tagged.path("signals.parquet"), columns=["id"])["id"].to_numpy()
    return seeded_order(ids[kept], seed, "split")
