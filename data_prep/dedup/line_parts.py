"""The parts of line deduplication: lines go through files that are partitioned by their hashes.

    lines       <name>.lines.npy      LINE, a row for each different line of a document, sorted by hash
                <name>.buckets.npy    where each of BUCKETS equal ranges of hashes begins, and the end
    owners      <name>.lost.npy       LOST, sorted by part and row
    remains     <name>.drops.npy      DROP: documents of which too little is left
    both        <name>.slow.npy       DROP: documents that took too long in lines, or in remains

An owners' part reads one range of hashes of every part's lines, so its memory does not grow with the corpus
where there are more of them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.by_part import Slices, rows_at
from data_prep.dedup.lines import LINE, LOST, by_row, line_hashes, lost_lines, sentences, without_lines
from data_prep.documents import header_bytes, write_array
from data_prep.filters import c4
from data_prep.filters.decide import DROP, KEPT
from data_prep.limit import OverTimeError, limited
from data_prep.storage import Storage

VERSION = 2
BUCKETS = 1024


def find_lines(
    output: Path,
    storage: Storage,
    documents: Path,
    verdicts: Path,
    drops: dict[str, Slices],
    part: int,
    c4_lines: dict[str, Any] | None,
) -> dict[str, Any]:
    """The lines of a part's documents that are neither rejected nor dropped, after C4's rules for lines."""
    found = [np.empty(0, LINE)]
    slow = []
    rules = c4.Lines(c4_lines) if c4_lines else None
    for row, document, text in _texts(documents, _left(storage, verdicts, drops)):
        try:
            with limited(text):
                hashes = np.unique(np.array(line_hashes(_cleaned(text, rules)), np.uint64))
        except OverTimeError:
            slow.append(row)
            continue
        lines = np.zeros(np.count_nonzero(hashes), LINE)
        lines["hash"], lines["id"], lines["row"] = hashes[hashes > 0], document, row
        found.append(lines)
    rows = np.sort(np.concatenate(found), order=["hash", "id"])
    starts = np.arange(BUCKETS, dtype=np.uint64) << np.uint64(64 - BUCKETS.bit_length() + 1)
    write_array(output.with_suffix(".lines.npy"), rows)
    bounds = np.append(np.searchsorted(rows["hash"], starts), len(rows))
    write_array(output.with_suffix(".buckets.npy"), bounds)
    write_array(output.with_suffix(".slow.npy"), _drops(part, slow))
    return {"lines": len(rows)}


def _cleaned(text: str, rules: c4.Lines | None) -> str:
    return rules.clean(text)[0] if rules else text


def _drops(part: int, rows: Sequence[int]) -> NDArray[Any]:
    """Documents of a part that go, without another one in their place."""
    drops = np.zeros(len(rows), DROP)
    drops["part"], drops["row"] = part, rows
    return drops


def _left(storage: Storage, verdicts: Path, drops: dict[str, Slices]) -> NDArray[np.bool_]:
    left: NDArray[np.bool_] = np.load(verdicts)["rule"] == KEPT
    for slices in drops.values():
        left[rows_at(storage, slices, DROP)["row"]] = False
    return left


def _texts(documents: Path, wanted: NDArray[np.bool_]) -> Iterator[tuple[int, int, str]]:
    """Row, id and text of the wanted documents."""
    start = 0
    for batch in pq.ParquetFile(documents).iter_batches(256, columns=["id", "text"]):
        for offset in np.flatnonzero(wanted[start : start + len(batch)]).tolist():
            yield start + offset, batch["id"][offset].as_py(), batch["text"][offset].as_py()
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
    storage: Storage,
    documents: Path,
    verdicts: Path,
    drops: dict[str, Slices],
    part: int,
    c4_lines: dict[str, Any] | None,
    lost: Slices,
    min_sentences: int,
) -> dict[str, Any]:
    """Those of a part's documents that lost lines and are left with too few sentences."""
    gone = by_row(rows_at(storage, lost, LOST))
    wanted = np.zeros(len(np.load(verdicts, mmap_mode="r")), bool)
    wanted[[*gone]] = True
    rules = c4.Lines(c4_lines) if c4_lines else None
    few, slow = [], []
    for row, _, text in _texts(documents, wanted & _left(storage, verdicts, drops)):
        try:
            with limited(text):
                left = without_lines(_cleaned(text, rules), gone[row])[0]
                if sentences(left) < min_sentences:
                    few.append(row)
        except OverTimeError:
            slow.append(row)
    write_array(output.with_suffix(".drops.npy"), _drops(part, few))
    write_array(output.with_suffix(".slow.npy"), _drops(part, slow))
    return {"dropped": len(few)}
