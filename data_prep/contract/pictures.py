"""The dataset format of pictures, with captions or labels or both: one writer, one reader.

    manifest.json        fingerprint, the fields of a sample, classes, how pixels were handled, every shard
    tokenizer.model      where there are captions: the tokenizer made of them, or the recipe's own
    documents.parquet    id, source, url, split of every picture, to trace a sample to where it came from
    train/shard-00000.tar, train/samples.npy, validation/...

A shard is a plain tar as webdataset, open_clip and img2dataset have it. A sample in it is `<key>.jpg`, `.png`
or `.webp`, then `<key>.txt` (the caption; several are lines of it), `<key>.questions.json` (questions and
answers, `data_prep.contract.questions`), `<key>.cls` (the number of the class) and `<key>.json` (id, source,
url, size). Samples lie in a shuffled order.

`samples.npy` has one row a sample (`SAMPLE_ROW`, or `ASKED_ROW` where there are questions): where its bytes
are in the tar, its label, its checksum. A million rows are 60 MB that map in a millisecond. A *block* is a
run of neighbouring samples of a shard, which an order of samples keeps together where it is read.
"""

import io
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from data_prep.contract.dataset import DAMAGED, MANIFEST, TOKENIZER, Count
from data_prep.contract.names import plain_name
from data_prep.contract.problems import first_problem
from data_prep.contract.questions import Question, parsed
from data_prep.contract.reading import read_array, read_json
from data_prep.contract.receipt import file_hash, fingerprint, write_atomic
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.vocabulary import Vocabulary

SCHEMA_VERSION = 1
SAMPLES = "samples.npy"
TRAIN, VALIDATION = "train", "validation"
IMAGE, CAPTION, LABEL, QUESTIONS = "image", "caption", "label", "questions"
NO_LABEL = -1
BLOCK_SAMPLES = 32

SAMPLE_ROW = np.dtype(
    [
        ("id", "<u8"),
        ("image_offset", "<u8"),
        ("caption_offset", "<u8"),
        ("image_bytes", "<u4"),
        ("caption_bytes", "<u4"),
        ("shard", "<u4"),
        ("label", "<i4"),
        ("crc32", "<u4"),  # of the image's bytes, then the caption's, then the questions'
        ("width", "<u2"),
        ("height", "<u2"),
    ]
)
ASKED_ROW = np.dtype([*SAMPLE_ROW.descr, ("questions_offset", "<u8"), ("questions_bytes", "<u4")])


class PictureShard(Settings):
    path: str
    """Path of the tar, relative to the dataset's folder."""
    bytes: Count
    """Size of the tar."""
    sha256: str
    """Hash of the tar."""
    samples: Count
    """Number of samples."""


class PictureSplit(Settings):
    shards: list[PictureShard]
    """The shards in the order of the table of samples."""
    samples_sha256: str
    """Hash of the split's table of samples."""

    def total(self, field: str) -> int:
        """Sum of one of the shards' counts."""
        return sum(getattr(shard, field) for shard in self.shards)


class PictureManifest(Settings):
    schema_version: int = SCHEMA_VERSION
    """Version of this format."""
    form: Literal["pictures"] = "pictures"
    """What the samples are."""
    fingerprint: str
    """Hash of everything a reader would see, and of how pixels were handled."""
    fields: list[Literal["image", "caption", "label", "questions"]]
    """What every sample has."""

    @property
    def row(self) -> np.dtype[Any]:
        """A row of the table of samples."""
        return row_of(self.fields)

    classes: list[str] = Field(default_factory=list)
    """Names of the labels, by their number."""
    pixels: dict[str, Any]
    """How the pictures that came in became those that are stored."""
    tokenizer_sha256: str = ""
    """Hash of tokenizer.model; empty where there is none."""
    vocabulary_size: int = Field(0, ge=0)
    """Number of pieces in the tokenizer; 0 where there is none."""
    block_samples: int = Field(BLOCK_SAMPLES, gt=0)
    """Neighbouring samples of a shard that are read together."""
    splits: dict[str, PictureSplit]
    """Shards of each split; `train` and `validation` at least."""
    about: dict[str, Any] = Field(default_factory=dict)
    """What the dataset was made of, for people."""


@dataclass(frozen=True)
class Picture:
    """A sample to be written: the image's file, its captions, its class, and what else is known of it."""

    image: bytes
    suffix: str
    """jpg, png or webp."""
    width: int
    height: int
    id: int
    captions: Sequence[str] = ()
    label: int = NO_LABEL
    about: Mapping[str, Any] | None = None
    questions: Sequence[Question] = ()


def row_of(fields: Sequence[str]) -> np.dtype[Any]:
    """A row of the table of samples that have these fields."""
    return ASKED_ROW if QUESTIONS in fields else SAMPLE_ROW


def checksum(*parts: bytes) -> int:
    """CRC-32 of what a sample is made of, one behind the other."""
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return value


def write_manifest(
    folder: Path,
    splits: Mapping[str, Sequence[tuple[PictureShard, NDArray[Any]]]],
    fields: Sequence[str],
    classes: Sequence[str],
    pixels: Mapping[str, Any],
    about: Mapping[str, Any],
) -> PictureManifest:
    """Write the tables of samples, then the manifest: the step that makes a folder of shards a dataset."""
    vocabulary = Vocabulary(folder / TOKENIZER) if (folder / TOKENIZER).is_file() else None
    entries: dict[str, PictureSplit] = {}
    for name, parts in splits.items():
        table = np.concatenate([np.zeros(0, row_of(fields)), *(rows for _, rows in parts)])
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, table, allow_pickle=False)
        (folder / name).mkdir(parents=True, exist_ok=True)
        write_atomic(folder / name / SAMPLES, buffer.getvalue())
        entries[name] = PictureSplit(
            shards=[entry for entry, _ in parts], samples_sha256=file_hash(folder / name / SAMPLES)
        )
    told: dict[str, Any] = {
        "fields": list(fields),
        "classes": list(classes),
        "pixels": dict(pixels),
        "tokenizer_sha256": vocabulary.sha256 if vocabulary else "",
        "vocabulary_size": vocabulary.size if vocabulary else 0,
        "block_samples": BLOCK_SAMPLES,
    }
    manifest = PictureManifest(
        fingerprint=stands_for(told, entries),
        splits=entries,
        about=dict(about),
        **told,
    )
    write_atomic(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    return manifest


def stands_for(told: Mapping[str, Any], splits: Mapping[str, PictureSplit]) -> str:
    """The fingerprint of a dataset of pictures."""
    return fingerprint("pictures", SCHEMA_VERSION, told, splits)


def holds_pictures(folder: Path) -> bool:
    """Whether a folder's manifest is one of pictures; False too where it has none."""
    path = folder / MANIFEST
    if not path.is_file():
        return False
    found = read_json(path)
    return isinstance(found, dict) and found.get("form") == "pictures"


class ImageDataset:
    """A finished dataset of pictures on local disk. Opening it reads the manifest alone.

    Raises `InputError` where the folder is none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / MANIFEST
        if not path.is_file():
            raise InputError(f"{folder}: not a dataset (no {MANIFEST}); a stage of kind images makes one")
        found = read_json(path)
        if isinstance(found, dict) and "form" not in found:
            raise InputError(f"{folder}: a dataset of text, where one of pictures is expected")
        try:
            self.manifest = PictureManifest.model_validate(found)
        except ValidationError as error:
            raise InputError(f"{path}: not a manifest of pictures ({first_problem(error)})") from error
        if self.manifest.schema_version != SCHEMA_VERSION:
            raise InputError(
                f"{path}: schema_version is {self.manifest.schema_version}; "
                f"this version of Bloomery reads {SCHEMA_VERSION}"
            )
        for name, split in self.manifest.splits.items():
            if "/" in plain_name(name, path):
                raise InputError(f"{path}: {name!r} is no name of a split (it has a slash)")
            for shard in split.shards:
                plain_name(shard.path, path)
        self._mapped: dict[tuple[str, int], NDArray[np.uint8]] = {}
        self._tables: dict[str, NDArray[Any]] = {}

    @property
    def classes(self) -> list[str]:
        """Names of the labels, by their number."""
        return self.manifest.classes

    def has(self, field: str) -> bool:
        """Whether every sample has a `caption`, a `label` or `questions`."""
        return field in self.manifest.fields

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The tokenizer of captions and questions; `InputError` where there is none or another."""
        if not self.manifest.tokenizer_sha256:
            raise InputError(f"{self.folder}: no captions and no questions, so it has no tokenizer")
        vocabulary = Vocabulary(self.folder / TOKENIZER)
        if vocabulary.sha256 != self.manifest.tokenizer_sha256:
            raise InputError(f"{vocabulary.path}: its hash is not the manifest's; prepare the dataset again")
        return vocabulary

    def split(self, name: str) -> PictureSplit:
        """The manifest's entry of a split."""
        if name not in self.manifest.splits:
            raise InputError(f"{self.folder}: no split {name!r}; it has {', '.join(self.manifest.splits)}")
        return self.manifest.splits[name]

    def rows(self, split: str) -> NDArray[Any]:
        """The split's table of samples, memory-mapped: a row a sample. `InputError` where it does not fit
        the shards."""
        if split not in self._tables:
            entry, path = self.split(split), self.folder / split / SAMPLES
            table = read_array(path, self.manifest.row, 1, mapped=True)
            _check_rows(table, entry, len(self.classes), path)
            self._tables[split] = table
        return self._tables[split]

    def blocks(self, split: str) -> NDArray[np.int64]:
        """[blocks] samples of each block, in the order of the table."""
        size = self.manifest.block_samples
        found: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        for shard in self.split(split).shards:
            whole, rest = divmod(shard.samples, size)
            found.append(np.array([size] * whole + [rest] * (rest > 0), np.int64))
        return np.concatenate(found)

    def sample(self, split: str, number: int, check: bool = True) -> tuple[bytes, list[str]]:
        """The image's bytes and the captions of sample `number` of the table.

        Raises `InputError` where `check` is set and they are not those that were written.
        """
        row = self.rows(split)[number]
        shard = self._shard(split, int(row["shard"]))
        image = _cut(shard, row["image_offset"], row["image_bytes"])
        caption = _cut(shard, row["caption_offset"], row["caption_bytes"])
        if check and checksum(image, caption, self._asked(split, number)) != row["crc32"]:
            path = self.folder / self.split(split).shards[int(row["shard"])].path
            with suppress(OSError):  # a dataset that may not be written to is none that would be mended
                (self.folder / DAMAGED).write_text(f"{path}\n", encoding="utf-8")
            raise InputError(
                f"{path}: the picture at byte {int(row['image_offset'])} is corrupt (its checksum differs); "
                "run its stage again"
            )
        return image, caption.decode("utf-8").split("\n") if caption else []

    def questions(self, split: str, number: int) -> tuple[Question, ...]:
        """The questions about sample `number` of the table; none where the dataset has none."""
        content = self._asked(split, number)
        return parsed(content, f"{self.folder}/{split}: row {number}") if content else ()

    def _asked(self, split: str, number: int) -> bytes:
        row = self.rows(split)[number]
        if not self.has(QUESTIONS):
            return b""
        shard = self._shard(split, int(row["shard"]))
        return _cut(shard, row["questions_offset"], row["questions_bytes"])

    def _shard(self, split: str, index: int) -> NDArray[np.uint8]:
        if (split, index) not in self._mapped:
            entry = self.split(split).shards[index]
            self._mapped[split, index] = np.memmap(self._there(entry), dtype=np.uint8, mode="r")
        return self._mapped[split, index]

    def check_there(self) -> None:
        """`InputError` where a shard is missing or has another size, before work is begun with them."""
        for split in self.manifest.splits.values():
            for shard in split.shards:
                self._there(shard)

    def _there(self, shard: PictureShard) -> Path:
        path = self.folder / shard.path
        if not path.is_file() or path.stat().st_size != shard.bytes:
            found = f"{path.stat().st_size} bytes" if path.is_file() else "no file"
            raise InputError(
                f"{path}: {found} where the manifest says {shard.bytes} bytes; run its stage again"
            )
        return path


def _cut(shard: NDArray[np.uint8], offset: Any, size: Any) -> bytes:
    return shard[int(offset) : int(offset) + int(size)].tobytes()


def _check_rows(table: NDArray[Any], split: PictureSplit, classes: int, path: Path) -> None:
    """`InputError` where a row names a shard or class that is not there, or bytes outside of its shard."""
    counts = [shard.samples for shard in split.shards]
    fits = len(table) == sum(counts) and np.array_equal(
        table["shard"], np.repeat(np.arange(len(counts), dtype=np.uint32), counts)
    )
    if fits and len(table):
        within = np.repeat(np.array([shard.bytes for shard in split.shards], np.uint64), counts)
        for member in ("image", "caption", *(["questions"] if table.dtype == ASKED_ROW else [])):
            offset, size = f"{member}_offset", f"{member}_bytes"
            start = np.minimum(table[offset], within)  # so that nothing wraps around
            fits &= bool(((table[offset] <= within) & (table[size] <= within - start)).all())
        fits &= bool(((table["label"] >= NO_LABEL) & (table["label"] < max(classes, 0))).all())
    if not fits:
        raise InputError(f"{path}: it does not fit the manifest's shards; prepare the dataset again")
