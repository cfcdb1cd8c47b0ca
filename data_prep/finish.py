"""The files of a dataset beside its shards, and the order in its folder."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.contract.dataset import DOCUMENTS, Manifest
from data_prep.parts import Part

COLUMNS = ["id", "source", "url", "split", "bytes"]


def write_documents(folder: Path, kept: Sequence[Path]) -> None:
    """documents.parquet: where each document came from and where it went, part after part."""
    path = folder / DOCUMENTS
    temporary = path.with_name(f".{path.name}.tmp")
    schema = pa.schema([pq.read_schema(kept[0]).field(name) for name in COLUMNS])
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for part in kept:
            writer.write_table(pq.read_table(part, columns=COLUMNS))
    temporary.replace(path)


def forget_missing(folder: Path, shards: Iterable[Part]) -> None:
    """Unmark the shards whose tar is gone or of another size, so that they are written again."""
    for part in shards:
        done = part.finished()
        if done:
            tar = folder / done.counts["shard"]["path"]
            if not tar.is_file() or tar.stat().st_size != done.counts["shard"]["bytes"]:
                part.path("json").unlink()


def remove_strays(folder: Path, manifest: Manifest) -> None:
    """Delete shards of an earlier run that the manifest does not name."""
    for split, entry in manifest.splits.items():
        named = {shard.path for shard in entry.shards}
        for path in (folder / split).glob("*.tar*"):
            if path.relative_to(folder).as_posix() not in named:
                path.unlink()
        for path in (folder / split).glob(".*.tmp"):
            path.unlink()
