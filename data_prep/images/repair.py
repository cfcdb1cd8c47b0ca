"""What of a finished dataset of pictures is missing or damaged."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from data_prep.contract.dataset import DOCUMENTS, MANIFEST, TOKENIZER
from data_prep.contract.pictures import SAMPLES, PictureManifest, stands_for
from data_prep.contract.receipt import Receipt, file_hash
from data_prep.documents import header_bytes
from data_prep.storage import Storage


def broken(storage: Storage, receipt: Receipt, hashes: bool = False) -> list[Path]:
    """The files that are missing or not those that the manifest tells of, by size; by hash on demand."""
    del receipt
    folder = storage.folder
    try:
        manifest = PictureManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return [folder / MANIFEST]
    told = manifest.model_dump(
        include={"fields", "classes", "pixels", "tokenizer_sha256", "vocabulary_size", "block_samples"}
    )
    if stands_for(told, manifest.splits) != manifest.fingerprint:
        return [folder / MANIFEST]
    found = []
    for name, split in manifest.splits.items():
        rows = split.total("samples")
        size = header_bytes(manifest.row, rows) + rows * manifest.row.itemsize
        wanted = {f"{name}/{SAMPLES}": (size, split.samples_sha256)}
        wanted |= {shard.path: (shard.bytes, shard.sha256) for shard in split.shards}
        found += [folder / path for path, about in wanted.items() if not _is(folder / path, *about, hashes)]
    tokenizer, documents = folder / TOKENIZER, folder / DOCUMENTS
    if manifest.tokenizer_sha256 and not (
        tokenizer.is_file() and file_hash(tokenizer) == manifest.tokenizer_sha256
    ):
        found.append(tokenizer)
    total = sum(split.total("samples") for split in manifest.splits.values())
    return found if _rows(documents) == total else [*found, documents]


def _is(path: Path, size: int, sha256: str, hashes: bool) -> bool:
    there = path.is_file() and path.stat().st_size == size
    return there and (not hashes or file_hash(path) == sha256)


def _rows(path: Path) -> int:
    """Rows of a table; -1 where it is none."""
    try:
        return int(pq.ParquetFile(path).metadata.num_rows)
    except (OSError, pa.ArrowInvalid):
        return -1
