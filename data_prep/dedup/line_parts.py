"""The parts of line deduplication: lines go through files that are partitioned by their hashes.

    lines       <name>.lines.npy      LINE, a row for each different line of a document, sorted by hash
                <name>.buckets.npy    where each of BUCKETS equal ranges of hashes begins, and the end
    owners      <name>.lost.npy       LOST, sorted by part and row
    remains     <name>.drops.npy      DROP: documents of which too little is left

An owners' part reads one range of hashes of every part's lines, so its memory does not grow with the corpus
where there are more of them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.dedup.lines import LINE, by_row, line_hash, lost_lines, lost_of, sentences, without_lines
from data_prep.documents import header_bytes, write_array
from data_prep.filters import c4
from data_prep.filters.decide import DROP, KEPT, drops_of
from data_prep.filters.settings import C4Filter
from data_prep.storage import Storage

VERSION = 1
BUCKETS = 1024


def find_lines(
    output: Path,
    documents: Path,
    verdicts: Path,
    drops: dict[str, list[Path]],
    part: int,
    c4_lines: dict[str, Any] | None,
) -> dict[str, Any]:
    """The lines of a part's documents that are neither rejected nor dropped, after C4's rules for lines."""
    found = [np.empty(0, LINE)]
    for row, document, text in _texts(documents, _left(verdicts, drops, part), c4_lines):
        hashes = np.unique(np.array([*map(line_hash, text.split("\n"))], np.uint64))
        lines = np.zeros(np.count_nonzero(hashes), LINE)
        lines["hash"], lines["id"], lines["row"] = hashes[hashes > 0], document, row
        found.append(lines)
    rows = np.sort(np.concatenate(found), order=["hash", "id"])
    starts = np.arange(BUCKETS, dtype=np.uint64) << np.uint64(64 - BUCKETS.bit_length() + 1)
    write_array(output.with_suffix(".lines.npy"), rows)
    bounds = np.append(np.searchsorted(rows["hash"], starts), len(rows))
    write_array(output.with_suffix(".buckets.npy"), bounds)
    return {"lines": len(rows)}


def _left(verdicts: Path, drops: dict[str, list[Path]], part: int) -> NDArray[np.bool_]:
    left: NDArray[np.bool_] = np.load(verdicts)["rule"] == KEPT
    for paths in drops.values():
        left[drops_of(paths, part)["row"]] = False
    return left


def _texts(
    documents: Path, wanted: NDArray[np.bool_], c4_lines: dict[str, Any] | None
) -> Iterator[tuple[int, int, str]]:
    """Row, id and text of the wanted documents."""
    rules = C4Filter.model_validate(c4_lines) if c4_lines is not None else None
    start = 0
    for batch in pq.ParquetFile(documents).iter_batches(256, columns=["id", "text"]):
        for offset in np.flatnonzero(wanted[start : start + len(batch)]).tolist():
            text = batch["text"][offset].as_py()
            yield (
                start + offset,
                batch["id"][offset].as_py(),
                (c4.clean_lines(text, rules)[0] if rules else text),
            )
        start += len(batch)


def find_owners(
    output: Path, storage: Storage, lines: list[Path], buckets: list[Path], share: int, shares: int
) -> dict[str, Any]:
    """The lines that documents lose, among those in one of `shares` shares of the hashes.

    Of every part's lines just the slice is read that belongs to the share.
    """
    first, last = share * BUCKETS // shares, (share + 1) * BUCKETS // shares
    bounds = [np.load(path) for path in buckets]
    headers = [header_bytes(LINE, int(bound[-1])) for bound in bounds]
    starts, stops = (
        [header + int(bound[edge]) * LINE.itemsize for header, bound in zip(headers, bounds, strict=True)]
        for edge in (first, last)
    )
    found = [np.frombuffer(data, LINE) for data in storage.slices(lines, starts, stops)]
    lost = lost_lines(found)
    write_array(output.with_suffix(".lost.npy"), lost)
    return {"lost": len(lost)}


def find_remains(
    output: Path,
    documents: Path,
    verdicts: Path,
    drops: dict[str, list[Path]],
    part: int,
    c4_lines: dict[str, Any] | None,
    lost: list[Path],
    min_sentences: int,
) -> dict[str, Any]:
    """Those of a part's documents that lost lines and are left with too few sentences."""
    gone = by_row(lost_of(lost, part))
    wanted = np.zeros(len(np.load(verdicts, mmap_mode="r")), bool)
    wanted[[*gone]] = True
    rows = [
        row
        for row, _, text in _texts(documents, wanted & _left(verdicts, drops, part), c4_lines)
        if sentences(without_lines(text, gone[row])[0]) < min_sentences
    ]
    found = np.zeros(len(rows), DROP)
    found["part"], found["row"] = part, rows
    write_array(output.with_suffix(".drops.npy"), found)
    return {"dropped": len(rows)}
