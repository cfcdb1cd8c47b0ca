"""Near-deduplication: documents that agree in a band are linked; of what hangs together one stays.

    edges         <name>.edges.npy      (links, 2) uint64: documents as part << 32 | row
    components    <name>.drops.npy      DROP, sorted by part and row

All on integer arrays: a web crawl's links fit where a dictionary of them would not. A part of `edges` reads
a range of the keys of some bands out of every part's files, so with more documents there are more of these
parts and not larger ones; what `components` holds grows with the number of duplicates alone. Which documents
go does not depend on the order of the files, on how they were cut into parts, or on the number of workers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.by_part import Places, rows_at
from data_prep.documents import write_array
from data_prep.filters.decide import DROP, KEPT

VERSION = 2


def find_edges(
    output: Path,
    bands: list[Path],
    rows: list[Path],
    verdicts: list[Path],
    exact_drops: list[Path],
    band_numbers: list[int],
    share: int,
    shares: int,
) -> dict[str, Any]:
    """The links in some bands, for the keys in one of `shares` ranges, among the documents that are left."""
    first, last = share_of_keys(share, shares)
    gone = Places(exact_drops, DROP)
    found: list[list[tuple[NDArray[np.uint64], NDArray[np.uint64]]]] = [[] for _ in band_numbers]
    for part, (band_path, row_path, verdict_path) in enumerate(zip(bands, rows, verdicts, strict=True)):
        left = np.load(verdict_path)["rule"] == KEPT
        left[rows_at(gone.here, gone.of(part), DROP)["row"]] = False
        keys, documents = np.load(band_path, mmap_mode="r"), np.load(row_path, mmap_mode="r")
        for pieces, band in zip(found, band_numbers, strict=True):
            mine = slice(keys[band].searchsorted(first), keys[band].searchsorted(last, "right"))
            stays = left[documents[band, mine]]
            nodes = (np.uint64(part) << np.uint64(32)) | documents[band, mine][stays].astype(np.uint64)
            pieces.append((keys[band, mine][stays], nodes))
    links = [linked(*map(np.concatenate, zip(*pieces, strict=True))) for pieces in found if pieces]
    edges = np.unique(np.concatenate([np.empty((0, 2), np.uint64), *links]), axis=0)
    write_array(output.with_suffix(".edges.npy"), edges)
    return {"links": len(edges)}


def share_of_keys(share: int, shares: int) -> tuple[np.uint64, np.uint64]:
    """First and last key of a share, both within it."""
    return np.uint64((share << 64) // shares), np.uint64(((share + 1 << 64) // shares) - 1)


def linked(keys: NDArray[np.uint64], nodes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Links [links, 2] from the least node of each key to its others: as connected as all pairs, but few."""
    order = np.lexsort((nodes, keys))
    keys, nodes = keys[order], nodes[order]
    first = np.ones(len(keys), bool)
    first[1:] = keys[1:] != keys[:-1]
    least = nodes[np.maximum.accumulate(np.where(first, np.arange(len(keys)), 0))]
    return np.stack([least[~first], nodes[~first]], axis=1)


def choose(output: Path, edges: list[Path], signals: list[Path], keys: list[Path]) -> dict[str, Any]:
    """Keep the longest document of each connected component; of equally long ones that of the least hash."""
    forest = np.empty((0, 2), np.uint64)
    for path in edges:
        forest = spanning(np.concatenate([forest, np.load(path)]))
    nodes, ends = np.unique(forest, return_inverse=True)
    labels = components(ends.reshape(-1, 2), len(nodes))
    drops = all_but_the_best(nodes, labels, *_sizes_hashes_ids(nodes, signals, keys))
    write_array(output.with_suffix(".drops.npy"), drops)
    clusters = len(nodes) - len(drops)
    return {"dropped": len(drops), "clusters": clusters}


def spanning(links: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Links [nodes, 2] that connect what these do: from the least node of each component to the rest."""
    nodes, ends = np.unique(links, return_inverse=True)
    labels = components(ends.reshape(-1, 2), len(nodes))
    others = labels != np.arange(len(nodes))
    return np.stack([nodes[labels], nodes], axis=1)[others]


def components(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The least member of each node's connected component. `pairs` [links, 2] are numbers below `count`.

    Every round hooks the larger label of each link to the smaller and then shortens all paths, so the number
    of rounds grows with the logarithm of the longest chain (Shiloach and Vishkin 1982).
    """
    labels = np.arange(count)
    one, other = pairs[:, 0], pairs[:, 1]
    while True:
        left, right = labels[one], labels[other]
        apart = left != right
        if not apart.any():
            return labels
        np.minimum.at(labels, np.maximum(left, right)[apart], np.minimum(left, right)[apart])
        while not np.array_equal(labels, shorter := labels[labels]):
            labels = shorter


def _sizes_hashes_ids(
    nodes: NDArray[np.uint64], signals: Sequence[Path], keys: Sequence[Path]
) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
    """Characters, hash of the text, and id of each node."""
    sizes = np.empty(len(nodes), np.int64)
    hashes, ids = np.empty(len(nodes), np.uint64), np.empty(len(nodes), np.uint64)
    parts = nodes >> np.uint64(32)
    for part in np.unique(parts).tolist():
        first, last = np.searchsorted(parts, [part, part + 1])
        rows = (nodes[first:last] & np.uint64(0xFFFFFFFF)).astype(np.int64)
        table = pq.read_table(signals[part], columns=["characters", "id"])
        sizes[first:last] = table["characters"].to_numpy()[rows]
        ids[first:last] = table["id"].to_numpy()[rows]
        hashes[first:last] = np.load(keys[part], mmap_mode="r")[rows, 0]
    return sizes, hashes, ids


def all_but_the_best(
    nodes: NDArray[np.uint64],
    labels: NDArray[np.int64],
    sizes: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    ids: NDArray[np.uint64],
) -> NDArray[Any]:
    """DROP rows of every node but the best of its component.

    Of equally long ones it is the one with the least hash of its text, whose place in the corpus does not
    count; only then, where texts are equal, the one with the least id.
    """
    order = np.lexsort((nodes, ids, hashes, -sizes, labels))
    ranked = labels[order]
    first = np.ones(len(order), bool)
    first[1:] = ranked[1:] != ranked[:-1]
    best = order[np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))]
    drops = np.empty(int((~first).sum()), DROP)
    gone = nodes[order[~first]]
    drops["part"], drops["row"] = gone >> np.uint64(32), gone & np.uint64(0xFFFFFFFF)
    drops["kept"] = ids[best[~first]]
    return np.sort(drops, order=["part", "row"])
