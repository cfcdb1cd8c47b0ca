"""What of a finished dataset is missing or damaged: its receipt says what was made, its files what is there.

Sizes are compared every time, hashes where training has left `.damaged` in the folder, whose content is the
path of a shard with a block that is not what was written."""

import hashlib
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from data_prep.contract.dataset import (
    BLOCK_ROW,
    BLOCKS,
    DOCUMENTS,
    MANIFEST,
    SCHEMA_VERSION,
    TOKENIZER,
    Manifest,
)
from data_prep.contract.receipt import Receipt, file_hash, fingerprint
from data_prep.contract.settings import InputError
from data_prep.documents import header_bytes
from data_prep.instructions import FOLDER
from data_prep.storage import Storage

_SHARD = re.compile(r"\w+/shard-\d+\.tar")


def broken(storage: Storage, receipt: Receipt, hashes: bool = False) -> list[Path]:
    """The files that are missing or not those that receipt and manifest tell of, by size; by hash on
    demand."""
    manifest = _manifest(storage)
    if manifest is None:
        return [storage.folder / MANIFEST]
    return [*_broken_shards(storage, manifest, hashes), *_broken_others(storage, manifest, receipt)]


def remove(storage: Storage, files: list[Path]) -> None:
    """Delete those of the broken files that are there and shards, which would be kept as they are
    otherwise."""
    there = storage.files(storage.folder)
    shards = [path for path in files if path in there and _SHARD.fullmatch(_name(storage, path))]
    storage.delete(*shards)


def _name(storage: Storage, path: Path) -> str:
    return path.relative_to(storage.folder).as_posix()


def _manifest(storage: Storage) -> Manifest | None:
    """The manifest, where it is whole and names nothing but shards."""
    path = storage.folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(storage.read(path).get(path, b""))
    except ValidationError:
        return None
    named = [shard.path for split in manifest.splits.values() for shard in split.shards]
    whole = fingerprint(SCHEMA_VERSION, manifest.tokenizer_sha256, manifest.splits) == manifest.fingerprint
    return manifest if whole and all(map(_SHARD.fullmatch, named)) else None


def _broken_shards(storage: Storage, manifest: Manifest, hashes: bool) -> list[Path]:
    """Shards and block tables that are not what the manifest says."""
    found = []
    for name, split in manifest.splits.items():
        sizes = storage.files(storage.folder / name)
        rows = split.total("blocks")
        table = header_bytes(BLOCK_ROW, rows) + rows * BLOCK_ROW.itemsize
        wanted = {f"{name}/{BLOCKS}": (table, split.blocks_sha256)}
        wanted |= {shard.path: (shard.bytes, shard.sha256) for shard in split.shards}
        for relative, (size, sha256) in wanted.items():
            path = storage.folder / relative
            if sizes.get(path) != size or (hashes and _hash(storage, path) != sha256):
                found.append(path)
    return found


def _hash(storage: Storage, path: Path) -> str:
    with storage.here(path) as here:
        return file_hash(here)


def _broken_others(storage: Storage, manifest: Manifest, receipt: Receipt) -> list[Path]:
    """The tokenizer, the list of documents and the instructions, where they are not what they should be."""
    tokenizer, documents = storage.folder / TOKENIZER, storage.folder / DOCUMENTS
    pairs = {
        storage.folder / FOLDER / f"{split}.jsonl": count
        for split, count in receipt.counts.get("instruction_pairs", {}).items()
    }
    contents = storage.read(tokenizer, *pairs)
    sha256 = hashlib.sha256(contents.get(tokenizer, b"")).hexdigest()
    found = [] if sha256 == manifest.tokenizer_sha256 else [tokenizer]
    found += [
        path for path, count in pairs.items() if path not in contents or contents[path].count(b"\n") != count
    ]
    count = sum(split.total("documents") for split in manifest.splits.values())
    return found if _rows(storage, documents) == count else [*found, documents]


def _rows(storage: Storage, path: Path) -> int:
    """Rows of a table; -1 where it is none."""
    try:
        with storage.open(path) as file:
            return int(pq.ParquetFile(file).metadata.num_rows)
    except (OSError, InputError, pa.ArrowInvalid):
        return -1
