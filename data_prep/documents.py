"""The document: its stable hashes, and how tables of it are written; `cleaning` has its text.

Every hash here is a pure function of its arguments on every machine, so ids, orders and splits do not depend
on where or how parallel a corpus is prepared.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.cleaning import normalise as normalise


@dataclass(frozen=True)
class Page:
    """What a source yields: one document before extraction and cleaning."""

    source: str
    """Name of the file it came from, without the folders that differ between machines."""
    offset: int
    """Where in the source it starts: bytes, or a running number."""
    content: bytes | str
    """Bytes still need extraction (HTML); a string is text already."""
    url: str = ""
    charset: str = ""
    """Character set that the server named, if any."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Questions and answers made from the document (signature, summary)."""


@dataclass(frozen=True)
class Failure:
    """Something in a source that gave no document: counted by reason and kept."""

    source: str
    offset: int
    reason: str
    """A few fixed words, to count by."""
    detail: str = ""
    url: str = ""


@dataclass(frozen=True)
class Passed:
    """Something in a source that is no document by its nature, such as a picture: counted, not kept."""

    reason: str
    """A few fixed words, to count by."""


Item = Page | Failure | Passed
"""What a source yields for each thing that it holds."""

DOCUMENT_SCHEMA = pa.schema(
    [
        ("id", pa.uint64()),
        ("source", pa.string()),
        ("offset", pa.int64()),
        ("url", pa.string()),
        ("text", pa.large_string()),
    ]
)
FAILURE_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("offset", pa.int64()),
        ("url", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)


def hash64(*parts: str | bytes | int) -> int:
    """A stable 64-bit hash; the boundaries between parts count."""
    return int.from_bytes(_digest(parts, 8), "little")


def hash128(*parts: str | bytes | int) -> bytes:
    """A stable 128-bit hash."""
    return _digest(parts, 16)


def _digest(parts: Sequence[str | bytes | int], size: int) -> bytes:
    state = hashlib.blake2b(digest_size=size)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.digest()


def seeded_order(ids: NDArray[np.uint64], seed: int, purpose: str) -> NDArray[np.uint64]:
    """A key per id, uniform over 64 bits: splitmix64 (Steele et al. 2014) of the id and a seeded offset.

    Sorting by it shuffles; comparing it with a share of 2^64 draws a sample. Keys of different purposes are
    independent, so the validation split says nothing about the order.
    """
    mixed = ids + np.uint64(hash64(seed, purpose))  # wraps around, as it should
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def share_limit(share: float) -> np.uint64:
    """The key below which a share of all keys lies."""
    return np.uint64(min(int(share * 2.0**64), 2**64 - 1))


def content_hash(text: str) -> bytes:
    """The hash that exact deduplication compares: case and the amount of white space do not count."""
    return hash128(" ".join(text.casefold().split()))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file so that it is there whole or not at all; its bytes depend on the table alone."""
    temporary = path.with_name(f".{path.name}.tmp")
    pq.write_table(table, temporary, compression="zstd", compression_level=1)
    temporary.replace(path)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a numpy array so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
    temporary.replace(path)


def header_bytes(dtype: np.dtype[Any], length: int) -> int:
    """Where the values start in the file of a one-dimensional array that `write_array` wrote."""
    buffer = io.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(buffer, about)
    return buffer.tell()


def table_of(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table with these rows."""
    return pa.Table.from_pylist(list(rows), schema=schema)
