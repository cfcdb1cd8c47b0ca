"""Near-deduplication: documents that agree in a band are linked; of what hangs together one stays.

    edges         <name>.edges.npy      (links, 2) uint64: documents as part << 32 | row
    components    <name>.drops.npy      DROP, sorted by part and row

All on integer arrays: a web crawl's links fit where a dictionary of them would not. Which documents go does
not depend on the order of the files, on how they were cut into parts, or on the number of workers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.documents import write_array
from data_prep.filters.decide import DROP, KEPT, drops_of

VERSION = 1


def find_edges(
    output: Path,
    bands: list[Path],
    verdicts: list[Path],
    exact_drops: list[Path],
    band_numbers: list[int],
    share: int,
    shares: int,
) -> dict[str, Any]:
    """The links in some bands, for the keys in one of `shares` shares, among the documents that are left."""
    keys, nodes = [np.empty((0, len(band_numbers)), np.uint64)], [np.empty(0, np.uint64)]
    for part, (band_path, verdict_path) in enumerate(zip(bands, verdicts, strict=True)):
        left = np.load(verdict_path)["rule"] == KEPT
        left[drops_of(exact_drops, part)["row"]] = False
        rows = np.flatnonzero(left).astype(np.uint64)
        keys.append(np.load(band_path, mmap_mode="r")[left][:, band_numbers])
        nodes.append((np.uint64(part) << np.uint64(32)) | rows)
    node = np.concatenate(nodes)
    links = [np.empty((0, 2), np.uint64)]
    for column in np.concatenate(keys).T:
        mine = column % np.uint64(shares) == share
        links.append(linked(column[mine], node[mine]))
    edges = np.unique(np.concatenate(links), axis=0)
    write_array(output.with_suffix(".edges.npy"), edges)
    return {"links": len(edges)}


def linked(keys: NDArray[np.uint64], nodes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Links [links, 2] from the least node of each key to its others: as connected as all pairs, but few."""
    order = np.lexsort((nodes, keys))
    keys, nodes = keys[order], nodes[order]
    first = np.ones(len(keys), bool)
    first[1:] = keys[1:] != keys[:-1]
    least = nodes[np.maximum.accumulate(np.where(first, np.arange(len(keys)), 0))]
    return np.stack([least[~first], nodes[~first]], axis=1)


def choose(output: Path, edges: list[Path], signals: list[Path]) -> dict[str, Any]:
    """Keep the longest document of each connected component; of equally long ones the one of the least id."""
    pairs = np.unique(np.concatenate([np.load(path) for path in edges]), axis=0)
    nodes, ends = np.unique(pairs, return_inverse=True)
    labels = components(ends.reshape(-1, 2), len(nodes))
    sizes, ids = _sizes_and_ids(nodes, signals)
    drops = all_but_the_best(nodes, labels, sizes, ids)
    write_array(output.with_suffix(".drops.npy"), drops)
    clusters = len(nodes) - len(drops)
    return {"dropped": len(drops), "clusters": clusters}


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


def _sizes_and_ids(
    nodes: NDArray[np.uint64], signals: Sequence[Path]
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Characters and id of each node."""
    sizes, ids = np.empty(len(nodes), np.int64), np.empty(len(nodes), np.uint64)
    parts = nodes >> np.uint64(32)
    for part in np.unique(parts).tolist():
        first, last = np.searchsorted(parts, [part, part + 1])
        rows = (nodes[first:last] & np.uint64(0xFFFFFFFF)).astype(np.int64)
        table = pq.read_table(signals[part], columns=["characters", "id"])
        sizes[first:last] = table["characters"].to_numpy()[rows]
        ids[first:last] = table["id"].to_numpy()[rows]
    return sizes, ids


def all_but_the_best(
    nodes: NDArray[np.uint64],
    labels: NDArray[np.int64],
    sizes: NDArray[np.int64],
    ids: NDArray[np.uint64],
) -> NDArray[Any]:
    """DROP rows of every node but the best of its component."""
    order = np.lexsort((nodes, ids, -sizes, labels))
    ranked = labels[order]
    first = np.ones(len(order), bool)
    first[1:] = ranked[1:] != ranked[:-1]
    best = order[np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))]
    drops = np.empty(int((~first).sum()), DROP)
    gone = nodes[order[~first]]
    drops["part"], drops["row"] = gone >> np.uint64(32), gone & np.uint64(0xFFFFFFFF)
    drops["kept"] = ids[best[~first]]
    return np.sort(drops, order=["part", "row"])
