"""Pictures that show the same, of which one stays: the one held out, else the largest, else the least id.

    exact        <name>.drops.npy      DROP: pictures with equal pixels
    links        <name>.edges.npy      (links, 2) uint64: nearly equal pictures as part << 32 | row
    near         <name>.drops.npy      DROP, sorted by part and row

Two hashes of 64 bits that differ in at most d agree in some m - d of any m groups of bits (the pigeonhole
principle). So for every choice of m - d groups the pictures that agree in them are compared, and only
these; m grows with the number of pictures, so that few agree by chance.
"""

from itertools import combinations
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.by_part import Places, rows_at
from data_prep.dedup.near import components, spanning
from data_prep.documents import write_array
from data_prep.filters.decide import DROP, KEPT
from data_prep.images.hashes import SIGNAL

VERSION = 1
BITS = 64
MOST_COMPARED = 256
"""Of pictures that agree in the bits of a choice, each is compared with so many behind it."""
NODE = np.dtype([("node", "<u8"), ("signal", SIGNAL)])


def drop_equal(
    output: Path, signals: list[Path], verdicts: list[Path], share: int, shares: int
) -> dict[str, Any]:
    """Find the pictures with equal pixels in one of `shares` shares of the hashes."""
    rows = _left(signals, verdicts, [])
    about = rows["signal"]
    rows = rows[about["high"] % np.uint64(shares) == share]
    _, groups = np.unique(rows["signal"][["high", "low"]], return_inverse=True)
    drops = all_but_the_best(rows, groups)
    write_array(output.with_suffix(".drops.npy"), drops)
    return {"dropped": len(drops)}


def find_links(
    output: Path,
    signals: list[Path],
    verdicts: list[Path],
    exact_drops: list[Path],
    masks: list[int],
    distance: int,
    colour: float,
    likeness: float,
) -> dict[str, Any]:
    """The links between pictures that agree in the bits of one of the masks and are near in all."""
    rows = _left(signals, verdicts, exact_drops)
    rows = rows[~rows["signal"]["flat"]]
    found = [_near(rows, np.uint64(mask), distance, colour, likeness) for mask in masks]
    edges = np.unique(np.concatenate([np.empty((0, 2), np.uint64), *found]), axis=0)
    write_array(output.with_suffix(".edges.npy"), edges)
    return {"links": len(edges)}


def _near(
    rows: NDArray[Any], mask: np.uint64, distance: int, colour: float, likeness: float
) -> NDArray[np.uint64]:
    hashes = rows["signal"]["perceptual"]
    order = np.lexsort((rows["node"], hashes, hashes & mask))
    rows, hashes = rows[order], hashes[order]
    keys, colours = hashes & mask, rows["signal"]["colours"]
    found: list[NDArray[np.uint64]] = []
    first = np.arange(len(rows))
    for step in range(1, MOST_COMPARED + 1):
        first = first[first < len(rows) - step]
        first = first[keys[first] == keys[first + step]]
        if not len(first):
            break
        close = first[np.bitwise_count(hashes[first] ^ hashes[first + step]) <= distance]
        close = close[alike(colours[close], colours[close + step], colour, likeness)]
        found.append(np.stack([rows["node"][close], rows["node"][close + step]], axis=1))
    return np.concatenate(found) if found else np.empty((0, 2), np.uint64)


def alike(
    one: NDArray[np.uint8], other: NDArray[np.uint8], colour: float, likeness: float
) -> NDArray[np.bool_]:
    """[N] which of N pairs of colours [N, fields] differ by no more than `colour` and correlate."""
    left, right = one.astype(np.float32), other.astype(np.float32)
    near = np.abs(left - right).mean(axis=1) <= colour
    left -= left.mean(axis=1, keepdims=True)
    right -= right.mean(axis=1, keepdims=True)
    scale = np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
    found: NDArray[np.bool_] = near & ((left * right).sum(axis=1) >= likeness * scale)
    return found


def masks(count: int, distance: int) -> list[int]:
    """The choices of bits under which `count` pictures are compared.

    >>> [bin(mask).count("1") for mask in masks(1000, 1)]
    [32, 32]
    """
    groups = distance + 1
    while BITS * (groups - distance) / groups < log2(max(count, 2)) + 3 and groups < 16:
        groups += 1
    edges = [BITS * index // groups for index in range(groups + 1)]
    bits = [(1 << edges[index + 1]) - (1 << edges[index]) for index in range(groups)]
    return [sum(chosen) for chosen in combinations(bits, groups - distance)]


def choose(output: Path, edges: list[Path], signals: list[Path], verdicts: list[Path]) -> dict[str, Any]:
    """Keep the best picture of each connected component."""
    forest = np.empty((0, 2), np.uint64)
    for path in edges:
        forest = spanning(np.concatenate([forest, np.load(path)]))
    nodes, ends = np.unique(forest, return_inverse=True)
    labels = components(ends.reshape(-1, 2), len(nodes))
    rows = _left(signals, verdicts, [])
    rows = rows[np.isin(rows["node"], nodes)]
    drops = all_but_the_best(rows, labels[np.searchsorted(nodes, rows["node"])])
    write_array(output.with_suffix(".drops.npy"), drops)
    return {"dropped": len(drops), "clusters": len(nodes) - len(drops)}


def all_but_the_best(rows: NDArray[Any], groups: NDArray[np.int64]) -> NDArray[Any]:
    """DROP rows of every picture but the best of its group."""
    about = rows["signal"]
    order = np.lexsort(
        (rows["node"], about["id"], -about["pixels"].astype(np.int64), ~about["held_out"], groups)
    )
    ranked = groups[order]
    first = np.ones(len(order), bool)
    first[1:] = ranked[1:] != ranked[:-1]
    best = order[np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))]
    drops = np.empty(int((~first).sum()), DROP)
    gone = rows["node"][order[~first]]
    drops["part"], drops["row"] = gone >> np.uint64(32), gone & np.uint64(0xFFFFFFFF)
    drops["kept"] = about["id"][best[~first]]
    return np.sort(drops, order=["part", "row"])


def _left(signals: list[Path], verdicts: list[Path], drops: list[Path]) -> NDArray[Any]:
    """The pictures of all parts that rules and these drops leave, each with its place (NODE)."""
    found, gone = [np.empty(0, NODE)], Places(drops, DROP)
    for part, (signal_path, verdict_path) in enumerate(zip(signals, verdicts, strict=True)):
        left = np.load(verdict_path)["rule"] == KEPT
        left[rows_at(gone.here, gone.of(part), DROP)["row"]] = False
        rows = np.empty(int(left.sum()), NODE)
        rows["node"] = (np.uint64(part) << np.uint64(32)) | np.flatnonzero(left).astype(np.uint64)
        rows["signal"] = np.load(signal_path, mmap_mode="r")[left]
        found.append(rows)
    return np.concatenate(found)
