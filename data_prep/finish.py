"""The files of a dataset beside its shards, and the order in its folder."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from data_prep.contract.dataset import DOCUMENTS, Manifest
from data_prep.contract.pictures import PictureManifest
from data_prep.parts import Part, finished
from data_prep.storage import Storage

COLUMNS = ["id", "source", "url", "split", "bytes"]


def write_documents(storage: Storage, kept: Sequence[Path]) -> None:
    """documents.parquet: where each document came from and where it went, part after part."""
    path = storage.folder / DOCUMENTS
    temporary = path.with_name(f".{path.name}.tmp")
    writer: pq.ParquetWriter | None = None
    for part in kept:
        with storage.open(part) as file:
            table = pq.read_table(file, columns=COLUMNS)
        writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None
    writer.close()
    temporary.replace(path)
    storage.store(path)


def forget_missing(storage: Storage, shards: Sequence[Part]) -> None:
    """Unmark the shards whose tar is gone or of another size, so that they are written again."""
    done, sizes = finished(shards).values(), storage.files(storage.folder)
    for part in done:
        shard = part.counts["shard"]
        if sizes.get(storage.folder / shard["path"]) != shard["bytes"]:
            storage.delete(part.path("json"))


def remove_strays(storage: Storage, manifest: Manifest | PictureManifest) -> None:
    """Delete shards of an earlier run that the manifest does not name."""
    for split, entry in manifest.splits.items():
        named = {storage.folder / shard.path for shard in entry.shards}
        strays = [
            path
            for path in storage.files(storage.folder / split)
            if (".tar" in path.suffixes or path.suffix == ".tmp") and path not in named
        ]
        storage.delete(*strays)
