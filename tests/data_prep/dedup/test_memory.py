"""What a part of deduplication holds in memory: no more for a corpus ten times as large.

Measured with tracemalloc, which sees numpy's arrays and none of the files that are mapped.
"""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.dedup.line_parts import BUCKETS, find_owners
from data_prep.dedup.lines import LINE
from data_prep.dedup.near import find_edges
from data_prep.documents import write_array
from data_prep.filters.decide import KEPT, VERDICT
from data_prep.storage import Storage

DOCUMENTS, BANDS = 5000, 4
"""Of a part."""


def peak(work: Callable[..., Any], *arguments: Any) -> int:
    """The most bytes that were in use at once."""
    tracemalloc.start()
    work(*arguments)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def banded(folder: Path, parts: int) -> tuple[list[Path], list[Path], list[Path]]:
    """Sorted keys of bands, rows and verdicts of so many parts; some keys occur twice."""
    draw = np.random.default_rng(0)
    names = [folder / str(part) for part in range(parts)]
    verdicts = np.zeros(DOCUMENTS, VERDICT)
    verdicts["rule"] = KEPT
    for name in names:
        keys = draw.integers(0, 1 << 64, (BANDS, DOCUMENTS), np.uint64, endpoint=False)
        keys[:, :100] = keys[:, 100:200]
        rows = np.argsort(keys, axis=1)
        write_array(name.with_suffix(".bands.npy"), np.take_along_axis(keys, rows, 1))
        write_array(name.with_suffix(".rows.npy"), rows.astype(np.uint32))
        write_array(name.with_suffix(".verdicts.npy"), verdicts)
    bands, rows_, verdict_files = (
        [name.with_suffix(f".{suffix}.npy") for name in names] for suffix in ("bands", "rows", "verdicts")
    )
    return bands, rows_, verdict_files


def test_links(tmp_path: Path) -> None:
    paths = banded(tmp_path, 40)
    first = [one[:4] for one in paths]
    numbers = [*range(BANDS)]
    find_edges(tmp_path / "warm", *first, [], numbers, 0, 1)
    small = peak(find_edges, tmp_path / "small", *first, [], numbers, 0, 1)
    large = peak(find_edges, tmp_path / "large", *paths, [], numbers, 3, 10)
    assert large < 1.3 * small
    assert len(np.load(tmp_path / "small.edges.npy")) == 4 * 100  # the same pairs in each band


def test_lines(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    starts = np.arange(BUCKETS, dtype=np.uint64) << np.uint64(54)
    lines = [tmp_path / f"{part}.lines.npy" for part in range(40)]
    buckets = [tmp_path / f"{part}.buckets.npy" for part in range(40)]
    for line_path, bucket_path in zip(lines, buckets, strict=True):
        rows = np.zeros(20 * DOCUMENTS, LINE)
        rows["hash"] = np.sort(draw.integers(1, 1 << 64, len(rows), np.uint64, endpoint=False))
        write_array(line_path, rows)
        write_array(bucket_path, np.append(np.searchsorted(rows["hash"], starts), len(rows)))
    storage = Storage(tmp_path)
    find_owners(tmp_path / "warm", storage, lines[:4], buckets[:4], 0, 1)
    small = peak(find_owners, tmp_path / "small", storage, lines[:4], buckets[:4], 0, 1)
    large = peak(find_owners, tmp_path / "large", storage, lines, buckets, 3, 10)
    assert large < 1.3 * small
