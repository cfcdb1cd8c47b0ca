"""The encoding step: a part's kept documents as tokens, already in the order of the finished dataset.

    <name>.tokens.npy       the documents' tokens end to end, sorted by split and by key
    <name>.index.npy        INDEX, one row a document in that order

A shard is a range of keys, so it reads one slice of every part: this is the shuffle.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from data_prep.contract.dataset import token_dtype
from data_prep.contract.vocabulary import Vocabulary
from data_prep.documents import seeded_order, write_array

VERSION = 1
INDEX = np.dtype([("split", "u1"), ("key", "<u8"), ("id", "<u8"), ("tokens", "<u4"), ("bytes", "<u4")])
SPLITS = ("train", "validation")
BATCH = 64


def encode(output: Path, kept: Path, model: Path, seed: int) -> dict[str, Any]:
    """Encode a part; counts documents, tokens and bytes of each split. Documents of no token are left out."""
    vocabulary = Vocabulary(model)
    dtype = token_dtype(vocabulary.size)
    pieces = []
    file = pq.ParquetFile(kept)
    for batch in file.iter_batches(BATCH, columns=["text"]):
        pieces += [np.array(ids, dtype) for ids in vocabulary.encode_batch(batch["text"].to_pylist())]
    table = file.read(["id", "bytes", "split"])
    index = np.empty(len(pieces), INDEX)
    index["id"] = table["id"].to_numpy()
    index["split"] = table["split"].to_numpy(zero_copy_only=False) == "validation"
    index["key"] = seeded_order(index["id"], seed, "order")
    index["bytes"] = table["bytes"].to_numpy()
    index["tokens"] = [len(piece) for piece in pieces]
    order = np.lexsort((index["id"], index["key"], index["split"]))
    order = order[index["tokens"][order] > 0]
    write_array(
        output.with_suffix(".tokens.npy"), np.concatenate([np.empty(0, dtype), *(pieces[i] for i in order)])
    )
    write_array(output.with_suffix(".index.npy"), index[order])
    return {"splits": {name: _counts(index[order], number) for number, name in enumerate(SPLITS)}}


def _counts(index: Any, split: int) -> dict[str, int]:
    rows = index[index["split"] == split]
    return {"documents": len(rows)} | {name: int(rows[name].sum()) for name in ("tokens", "bytes")}
