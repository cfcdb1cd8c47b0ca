"""The dataset format: where `data_prep` and `pipeline` meet. One writer, one reader.

    manifest.json        small and readable: fingerprint, tokenizer hash, every shard with its sha256
    tokenizer.model      the tokenizer that made the tokens: a SentencePiece model, or a published one, packed
    documents.parquet    id, source, url, split of every document, to trace a token to where it came from
    train/shard-00000.tar, train/blocks.npy, validation/...

A shard is a plain tar that a stock `webdataset.WebDataset(url).decode()` reads. A sample in it is a *block*
of whole documents, as three members: `<key>.tokens.npy` (uint16 or uint32, one flat array),
`<key>.lengths.npy` (int32, tokens per document) and `<key>.ids.npy` (uint64, document ids). Documents hold
text tokens alone, with no <bos> or <eos>: objectives add what they need.

`blocks.npy` has one row a block (`BLOCK_ROW`): the shard, and where in the tar the three arrays' raw values
start. It lies beside the manifest because a million blocks are 48 MB that map in a millisecond as an array
but take seconds as JSON.
"""

import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from data_prep.contract.checks import check_names, check_rows
from data_prep.contract.problems import first_problem
from data_prep.contract.reading import read_array, read_json
from data_prep.contract.receipt import file_hash, fingerprint, write_atomic
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.vocabulary import Vocabulary

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.model"
DOCUMENTS = "documents.parquet"
BLOCKS = "blocks.npy"
DAMAGED = ".damaged"
"""In a folder of which a reader found something damaged: preparation then looks at all of it, by hash."""
ADDRESS = "address.txt"
"""In a folder that stands for a dataset in object storage: where that is. The small files are in both."""

BLOCK_ROW = np.dtype(
    [
        ("shard", "<u4"),
        ("documents", "<u4"),
        ("tokens", "<u8"),
        ("tokens_offset", "<u8"),
        ("lengths_offset", "<u8"),
        ("ids_offset", "<u8"),
        ("crc32", "<u4"),  # of the raw token bytes, so that one block can be checked without its shard
        ("index_crc32", "<u4"),  # of the raw lengths and ids: a wrong length would shift every later document
    ]
)

Count = Annotated[int, Field(ge=0, lt=1 << 62)]


@dataclass(frozen=True)
class Block:
    """Whole documents laid end to end: `tokens` [sum of lengths], `lengths` and `ids` [documents]."""

    tokens: NDArray[Any]
    lengths: NDArray[np.int32]
    ids: NDArray[np.uint64]

    def documents(self) -> Iterator[NDArray[Any]]:
        """The token array of each document."""
        ends = np.cumsum(self.lengths)
        for start, end in zip(ends - self.lengths, ends, strict=True):
            yield self.tokens[start:end]


class Shard(Settings):
    path: str
    """Path of the tar, relative to the dataset's folder."""
    bytes: Count
    """Size of the tar."""
    sha256: str
    """Hash of the tar."""
    documents: Count
    """Number of whole documents."""
    tokens: Count
    """Number of tokens."""
    text_bytes: Count
    """UTF-8 bytes of the documents' texts, for bits per byte."""
    blocks: Count
    """Number of blocks."""


class Split(Settings):
    shards: list[Shard]
    """The shards in the order of the block table."""
    blocks_sha256: str
    """Hash of the split's block table."""

    def total(self, field: str) -> int:
        """Sum of one of the shards' counts."""
        return sum(getattr(shard, field) for shard in self.shards)


class Manifest(Settings):
    schema_version: int = SCHEMA_VERSION
    """Version of this format."""
    fingerprint: str
    """Hash of everything a reader would see: equal fingerprints mean equal token streams."""
    tokenizer_sha256: str
    """Hash of tokenizer.model."""
    vocabulary_size: int = Field(gt=0)
    """Number of pieces in the tokenizer."""
    dtype: Literal["uint16", "uint32"]
    """Type of the tokens: uint16 where the vocabulary allows, else uint32."""
    splits: dict[str, Split]
    """Shards of each split; `train` and `validation` at least."""
    about: dict[str, Any] = Field(default_factory=dict)
    """What the dataset was made of, for people."""


class ShardWriter:
    """Writes the shards of one split, each under a temporary name until it is whole.

    The bytes depend on the blocks alone: no clock, no user, no host goes into the tar.
    """

    def __init__(self, folder: Path, split: str, vocabulary_size: int) -> None:
        self.folder, self.split = folder, split
        self.dtype = token_dtype(vocabulary_size)
        (folder / split).mkdir(parents=True, exist_ok=True)

    def write(self, index: int, blocks: Iterable[Block], text_bytes: int) -> tuple[Shard, NDArray[Any]]:
        """Write shard number `index`; returns its manifest entry and its rows of the block table."""
        name = f"{self.split}/shard-{index:05d}.tar"
        path = self.folder / name
        temporary = path.with_name(f".{path.name}.tmp")
        rows: list[tuple[int, ...]] = []
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for number, block in enumerate(blocks):
                rows.append(self._add(tar, f"{index:05d}-{number:06d}", index, block))
        table = np.array(rows, dtype=BLOCK_ROW)
        entry = Shard(
            path=name,
            bytes=temporary.stat().st_size,
            sha256=file_hash(temporary),
            documents=int(table["documents"].sum()),
            tokens=int(table["tokens"].sum()),
            text_bytes=text_bytes,
            blocks=len(rows),
        )
        temporary.replace(path)
        return entry, table

    def _add(self, tar: tarfile.TarFile, key: str, shard: int, block: Block) -> tuple[int, ...]:
        tokens = np.ascontiguousarray(block.tokens, dtype=self.dtype)
        lengths = np.ascontiguousarray(block.lengths, dtype="<i4")
        ids = np.ascontiguousarray(block.ids, dtype="<u8")
        assert int(lengths.sum()) == len(tokens)
        assert len(lengths) == len(ids)
        offsets = [
            _add_array(tar, f"{key}.{name}.npy", array)
            for name, array in (("tokens", tokens), ("lengths", lengths), ("ids", ids))
        ]
        return (shard, len(lengths), len(tokens), *offsets, checksum(tokens), checksum(lengths, ids))


def _add_array(tar: tarfile.TarFile, name: str, array: NDArray[Any]) -> int:
    """Add one array as a member; returns the offset of its raw values in the tar."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    member = tarfile.TarInfo(name)
    member.size, member.mode = buffer.tell(), 0o644
    start = tar.offset + tarfile.BLOCKSIZE
    buffer.seek(0)
    tar.addfile(member, buffer)
    return start + member.size - array.nbytes


def checksum(*arrays: NDArray[Any]) -> int:
    """The crc32 of the raw bytes of some arrays, one after the other."""
    value = 0
    for array in arrays:
        value = zlib.crc32(array.view(np.uint8).data, value)
    return value


def token_dtype(vocabulary_size: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds every token id."""
    return np.dtype("<u2" if vocabulary_size <= 1 << 16 else "<u4")


def write_manifest(
    folder: Path,
    splits: dict[str, list[tuple[Shard, NDArray[Any]]]],
    about: dict[str, Any] | None = None,
) -> Manifest:
    """Write the block tables, then the manifest: the step that makes a folder of shards a dataset.

    `folder` already holds tokenizer.model and the shards; `splits` has what `ShardWriter.write` returned.
    """
    vocabulary = Vocabulary(folder / TOKENIZER)
    entries: dict[str, Split] = {}
    for name, written in splits.items():
        table = np.concatenate([np.zeros(0, BLOCK_ROW), *(rows for _, rows in written)])
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, table, allow_pickle=False)
        (folder / name).mkdir(parents=True, exist_ok=True)
        write_atomic(folder / name / BLOCKS, buffer.getvalue())
        entries[name] = Split(
            shards=[entry for entry, _ in written], blocks_sha256=file_hash(folder / name / BLOCKS)
        )
    manifest = Manifest(
        fingerprint=fingerprint(SCHEMA_VERSION, vocabulary.sha256, entries),
        tokenizer_sha256=vocabulary.sha256,
        vocabulary_size=vocabulary.size,
        dtype="uint16" if token_dtype(vocabulary.size).itemsize == 2 else "uint32",
        splits=entries,
        about=about or {},
    )
    write_atomic(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    return manifest


class Dataset:
    """A finished dataset on local disk. Opening it reads the manifest alone; blocks are memory-mapped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / MANIFEST
        if not path.is_file():
            raise InputError(f"{folder}: not a dataset (no {MANIFEST}); make one with `bloomery prep`")
        try:
            self.manifest = Manifest.model_validate(read_json(path))
        except ValidationError as error:
            raise InputError(f"{path}: not a dataset manifest ({first_problem(error)})") from error
        if self.manifest.schema_version != SCHEMA_VERSION:
            raise InputError(
                f"{path}: schema_version is {self.manifest.schema_version}; "
                f"this version of Bloomery reads {SCHEMA_VERSION}"
            )
        check_names(self.manifest, path)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The tokenizer; `InputError` where it is not the one that made the tokens."""
        vocabulary = Vocabulary(self.folder / TOKENIZER)
        if vocabulary.sha256 != self.manifest.tokenizer_sha256:
            raise InputError(f"{vocabulary.path}: its hash is not the manifest's; prepare the dataset again")
        return vocabulary

    def split(self, name: str) -> Split:
        """The manifest's entry of a split."""
        if name not in self.manifest.splits:
            raise InputError(f"{self.folder}: no split {name!r}; it has {', '.join(self.manifest.splits)}")
        return self.manifest.splits[name]

    def block_table(self, split: str) -> NDArray[Any]:
        """The split's block table, memory-mapped: one `BLOCK_ROW` a block."""
        entry, path = self.split(split), self.folder / split / BLOCKS
        try:
            table = read_array(path, BLOCK_ROW, 1, mapped=True)
        except InputError as error:
            raise InputError(f"{error}; prepare the dataset again") from error
        check_rows(table, entry, np.dtype(self.manifest.dtype).itemsize, path)
        return table

    def open_shard(self, split: str, index: int) -> NDArray[np.uint8]:
        """The bytes of a shard, memory-mapped."""
        entry = self.split(split).shards[index]
        return np.memmap(self._there(entry), dtype=np.uint8, mode="r")

    def check_there(self) -> None:
        """`InputError` where a shard is missing or has another size, before work is begun with them."""
        for split in self.manifest.splits.values():
            for shard in split.shards:
                self._there(shard)

    def _there(self, shard: Shard) -> Path:
        path = self.folder / shard.path
        if not path.is_file() or path.stat().st_size != shard.bytes:
            found = f"{path.stat().st_size} bytes" if path.is_file() else "no file"
            raise InputError(
                f"{path}: {found} where the manifest says {shard.bytes} bytes; `bloomery prep` makes it again"
            )
        return path

    def read_block(self, shard: NDArray[np.uint8], row: Any, check: bool = True) -> Block:
        """The block that `row` of the block table describes, as views of the mapped shard.

        Raises `InputError` where `check` is set and the arrays are not those that were written.
        """

        def view(offset: int, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
            return shard[int(offset) : int(offset) + count * dtype.itemsize].view(dtype)

        tokens = view(row["tokens_offset"], int(row["tokens"]), np.dtype(self.manifest.dtype))
        documents = int(row["documents"])
        lengths = view(row["lengths_offset"], documents, np.dtype("<i4"))
        ids = view(row["ids_offset"], documents, np.dtype("<u8"))
        if check and (checksum(tokens), checksum(lengths, ids)) != (row["crc32"], row["index_crc32"]):
            name = getattr(shard, "filename", "shard")
            with suppress(OSError):  # a dataset that may not be written to is none that prep would mend
                (self.folder / DAMAGED).write_text(f"{name}\n", encoding="utf-8")
            raise InputError(
                f"{name}: the block at byte {int(row['tokens_offset'])} is corrupt (its checksum differs); "
                "`bloomery prep` makes it again"
            )
        return Block(tokens, lengths, ids)

    def blocks(self, split: str) -> Iterator[Block]:
        """Every block of a split in stored order."""
        mapped: dict[int, NDArray[np.uint8]] = {}
        for row in self.block_table(split):
            index = int(row["shard"])
            if index not in mapped:
                mapped = {index: self.open_shard(split, index)}
            yield self.read_block(mapped[index], row)

    def verify(self) -> None:
        """Compare the sha256 of every file with the manifest; `InputError` names the first that differs."""
        for name, split in self.manifest.splits.items():
            expected = {f"{name}/{BLOCKS}": split.blocks_sha256}
            expected |= {shard.path: shard.sha256 for shard in split.shards}
            for path, sha256 in expected.items():
                if not (self.folder / path).is_file() or file_hash(self.folder / path) != sha256:
                    raise InputError(f"{self.folder / path}: missing or not what the manifest says (sha256)")
