"""A shard is the documents whose keys fall into its range, in the order of their keys, cut into blocks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import Block, ShardWriter, token_dtype
from data_prep.documents import header_bytes, write_array
from data_prep.storage import Storage
from data_prep.tokenize.encode import SPLITS

VERSION = 1
LEAST_BLOCKS = 64
LEAST_BLOCK_TOKENS = 1 << 12


def block_size(wanted: int, tokens: int) -> int:
    """Tokens in a block: what the recipe wants, less where the corpus would not fill 64 of them."""
    return max(min(wanted, tokens // LEAST_BLOCKS), min(wanted, LEAST_BLOCK_TOKENS))


def shard_count(tokens: int, token_bytes: int, shard_bytes: int) -> int:
    """Number of shards that brings them near the wanted size."""
    return max(1, round(tokens * token_bytes / shard_bytes))


def key_range(shard: int, shards: int) -> tuple[int, int]:
    """First and last key of a shard, both within it."""
    return (shard << 64) // shards, ((shard + 1 << 64) // shards) - 1


def build(
    output: Path,
    storage: Storage,
    split: str,
    shard: int,
    shards: int,
    block_tokens: int,
    vocabulary_size: int,
    tokens: list[Path],
    indexes: list[Path],
) -> dict[str, Any]:
    """Write one shard of a split into the dataset's folder, its rows of the block table beside the part."""
    dtype = token_dtype(vocabulary_size)
    rows, arrays = gather(split, key_range(shard, shards), tokens, indexes, dtype, storage)
    writer = ShardWriter(storage.folder, split, vocabulary_size)
    entry, table = writer.write(
        shard, blocks(rows, arrays, block_tokens), int(rows["bytes"].sum(dtype=np.int64))
    )
    write_array(output.with_suffix(".blocks.npy"), table)
    return {"shard": entry.model_dump()}


def gather(
    split: str,
    keys: tuple[int, int],
    tokens: list[Path],
    indexes: list[Path],
    dtype: np.dtype[Any],
    storage: Storage,
) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """The index rows with a key in this range in the order of their keys, and the tokens of each.

    Of every part's tokens just the slice is read that belongs to the range.
    """
    found, starts, stops = [], [], []
    for index_path in indexes:
        index = np.load(index_path, mmap_mode="r")
        first, last = key_rows(index, SPLITS.index(split), keys)
        before, mine, after = (
            int(rows["tokens"].sum(dtype=np.int64)) for rows in np.split(index, [first, last])
        )
        header = header_bytes(dtype, before + mine + after)
        starts.append(header + before * dtype.itemsize)
        stops.append(starts[-1] + mine * dtype.itemsize)
        found.append(np.array(index[first:last]))
    arrays: list[NDArray[Any]] = []
    for mine_rows, data in zip(found, storage.slices(tokens, starts, stops), strict=True):
        ends = np.cumsum(mine_rows["tokens"], dtype=np.int64)
        arrays += np.split(np.frombuffer(data, dtype), ends[:-1]) if len(ends) else []
    rows = np.concatenate(found)
    order = np.lexsort((rows["id"], rows["key"]))
    return rows[order], [arrays[position] for position in order]


def key_rows(index: NDArray[Any], split: int, keys: tuple[int, int]) -> tuple[int, int]:
    """The rows [first, last) of an index that are of a split and have a key in this range."""
    start, end = np.searchsorted(index["split"], [split, split + 1])
    key = index["key"][start:end]
    first = np.searchsorted(key, np.uint64(keys[0]), "left")
    return int(start + first), int(start + np.searchsorted(key, np.uint64(keys[1]), "right"))


def blocks(rows: NDArray[Any], arrays: list[NDArray[Any]], block_tokens: int) -> Iterator[Block]:
    """Whole documents end to end; a block ends with the document that fills it."""
    ends = np.cumsum(rows["tokens"], dtype=np.int64)
    start = 0
    while start < len(rows):
        before = int(ends[start - 1]) if start else 0
        end = min(int(np.searchsorted(ends, before + block_tokens)) + 1, len(rows))
        yield Block(
            np.concatenate(arrays[start:end]),
            rows["tokens"][start:end].astype(np.int32),
            np.ascontiguousarray(rows["id"][start:end]),
        )
        start = end
