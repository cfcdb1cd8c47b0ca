"""Exact deduplication on hashes: each task takes the documents whose hash falls into its share of all hashes.

    <name>.drops.npy        DROP, sorted by part and row

Of equal documents the one with the smallest id stays, so the result depends neither on the order of the input
files nor on how they were cut into parts.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.documents import write_array
from data_prep.filters.decide import DROP, KEPT

VERSION = 1
ROW = np.dtype([("high", "<u8"), ("low", "<u8"), ("id", "<u8"), ("part", "<u4"), ("row", "<u4")])


def drop_equal(
    output: Path, keys: list[Path], verdicts: list[Path], ids: list[Path], share: int, shares: int
) -> dict[str, Any]:
    """Find the equal documents among those that the rules keep, in one of `shares` shares of the hashes."""
    rows = []
    for part, (key_path, verdict_path, id_path) in enumerate(zip(keys, verdicts, ids, strict=True)):
        hashes = np.load(key_path)
        mine = (np.load(verdict_path)["rule"] == KEPT) & (hashes[:, 0] % np.uint64(shares) == share)
        found = np.empty(int(mine.sum()), ROW)
        found["high"], found["low"] = hashes[mine, 0], hashes[mine, 1]
        found["id"] = pq.read_table(id_path, columns=["id"])["id"].to_numpy()[mine]
        found["part"], found["row"] = part, np.flatnonzero(mine)
        rows.append(found)
    drops = equal_rows(np.concatenate(rows) if rows else np.empty(0, ROW))
    write_array(output.with_suffix(".drops.npy"), drops)
    return {"dropped": len(drops)}


def equal_rows(rows: NDArray[Any]) -> NDArray[Any]:
    """All rows (ROW) but the one with the smallest id of each hash, as DROP."""
    rows = rows[np.lexsort((rows["row"], rows["part"], rows["id"], rows["low"], rows["high"]))]
    first = np.ones(len(rows), bool)
    first[1:] = (rows["high"][1:] != rows["high"][:-1]) | (rows["low"][1:] != rows["low"][:-1])
    kept = rows["id"][np.maximum.accumulate(np.where(first, np.arange(len(rows)), 0))]
    drops = np.empty(int((~first).sum()), DROP)
    drops["part"], drops["row"] = rows["part"][~first], rows["row"][~first]
    drops["kept"] = kept[~first]
    return np.sort(drops, order=["part", "row"])
