"""The tagging step: every signal that a rule could ask for, one row a document, beside the documents.

<name>.signals.parquet      id and a column per signal
<name>.keys.npy             (documents, 2) uint64: the 128-bit hash for exact deduplication
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.documents import content_hash, write_array, write_table

VERSION = 1


def tag(output: Path, documents: Path) -> dict[str, Any]:
    """Compute the signals of a part's documents."""
    columns: dict[str, list[Any]] = {"id": [], "bytes": [], "characters": []}
    hashes: list[bytes] = []
    for batch in pq.ParquetFile(documents).iter_batches(256, columns=["id", "text"]):
        columns["id"] += batch["id"].to_pylist()
        for text in batch["text"].to_pylist():
            columns["bytes"].append(len(text.encode()))
            columns["characters"].append(len(text))
            hashes.append(content_hash(text))
    types = [pa.uint64(), pa.int64(), pa.int64()]
    table = pa.table(
        {name: pa.array(column, kind) for (name, column), kind in zip(columns.items(), types, strict=True)}
    )
    write_table(output.with_suffix(".signals.parquet"), table)
    write_array(output.with_suffix(".keys.npy"), np.frombuffer(b"".join(hashes), "<u8").reshape(-1, 2))
    return {"documents": len(hashes), "bytes": sum(columns["bytes"])}
