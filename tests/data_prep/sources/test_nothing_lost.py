"""Files as they lie about: each record is a document or counted, each byte is read or said why not."""

import bz2
import gzip
import json
import lzma
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from data_prep.account import Account, total_input
from data_prep.collect import document, read_all
from data_prep.config import CorpusConfig
from data_prep.contract.settings import InputError
from data_prep.documents import Page
from data_prep.sources import list_files

Content = bytes | Callable[[Path], Any]


def account_of(kind: str, folder: Path, files: dict[str, Content], *paths: str) -> dict[str, Any]:
    """Write files into a folder, read it or paths in it, and see that the sums are those of the files."""
    folder.mkdir()
    for name, content in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(place)
        else:
            place.write_bytes(content)
    config = CorpusConfig.model_validate({"kind": kind, "paths": [str(folder / p) for p in paths or ("",)]})
    account, others = Account(), list[str]()
    found = list_files(config, others.extend)
    for file, item in read_all(found, config, account):
        account.add(file, document(item, config) if isinstance(item, Page) else item)
    told = total_input([account.counts()], [], others)
    assert told["bytes"] == sum(Path(file.path).stat().st_size for file in found)
    assert told["read"] + sum(told["unread"].values()) == told["bytes"]
    return told


def lines(*texts: str) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


THREE = lines("one text", "two text", "three text")
PACKED, ZSTD = gzip.compress(THREE), zstandard.ZstdCompressor().compress(THREE)
SKIPPED = struct.pack("<II", 0x184D2A5E, 9) + b"seektable"
"""A frame of zst that holds no data: seekable files end with one."""

JSONL: dict[str, tuple[dict[str, Content], int, dict[str, int]]] = {
    "no last line end": ({"a.jsonl": THREE[:-1]}, 3, {}),
    "old line ends": ({"a.jsonl": THREE.replace(b"\n", b"\r")}, 3, {}),
    "Windows' line ends": ({"a.jsonl": THREE.replace(b"\n", b"\r\n")}, 3, {}),
    "zero bytes behind it": ({"a.jsonl": THREE + b"\0" * 500}, 3, {"line is not JSON": 1}),
    "zero bytes before it": ({"a.jsonl": b"\0" * 500 + THREE}, 2, {"line is not JSON": 1}),
    "zero bytes within": ({"a.jsonl": b"\1\0\2" + THREE}, 0, {"binary content": 1}),
    "a key twice": ({"a.jsonl": THREE + b'{"text": "a b", "text": "c d"}'}, 3, {"line is not JSON": 1}),
    "a key twice, deeper": ({"a.jsonl": b'{"of": {"text": "a"}, "text": "c d"}'}, 1, {}),
    "cut": ({"a.jsonl.gz": gzip.compress(THREE * 1000)[:-20]}, 2873, {"damaged file": 1}),
    "a cut member": ({"a.jsonl.gz": PACKED + PACKED[:-5]}, 6, {"damaged file": 1}),
    "garbage behind it": ({"a.jsonl.gz": PACKED + b"garbage"}, 3, {"damaged file": 1}),
    "padding between": ({"a.jsonl.gz": PACKED + b"\0" * 700 + PACKED}, 6, {}),
    "empty members": ({"a.jsonl.gz": gzip.compress(b"") * 3 + PACKED + gzip.compress(b"")}, 3, {}),
    "a wrong sum": ({"a.jsonl.gz": PACKED[:-8] + b"\1\2\3\4" + PACKED[-4:]}, 0, {"damaged file": 1}),
    "frames without data": ({"a.jsonl.zst": SKIPPED + ZSTD + SKIPPED + ZSTD + SKIPPED}, 6, {}),
    "a cut frame without data": ({"a.jsonl.zst": ZSTD + SKIPPED[:-3]}, 3, {"damaged file": 1}),
    "several of bz2, then junk": ({"a.jsonl.bz2": bz2.compress(THREE) * 2 + b"xx"}, 6, {"damaged file": 1}),
    "padded xz": ({"a.jsonl.xz": lzma.compress(THREE) + b"\0" * 4 + lzma.compress(THREE)}, 6, {}),
    "plain for packed": ({"a.jsonl.gz": THREE}, 0, {"damaged file": 1}),
    "packed for plain": ({"a.jsonl": PACKED}, 3, {}),
    "packed twice": ({"a.jsonl.gz": gzip.compress(PACKED)}, 0, {"binary content": 1}),
    "large letters": ({"A.JSONL.GZ": PACKED, "b.JsonL": THREE}, 6, {}),
    "a folder called like a file": ({"x.jsonl/a.jsonl": THREE}, 3, {}),
    "a line break in a name": ({"a b\nc.jsonl": THREE}, 3, {}),
    "a name that is not UTF-8": ({"b\udcff.jsonl": THREE}, 3, {}),
}


@pytest.mark.parametrize("kind", JSONL)
def test_lines(kind: str, tmp_path: Path) -> None:
    files, documents, failures = JSONL[kind]
    told = account_of("jsonl", tmp_path / "in", files)
    assert (told["documents"], told["failures"]) == (documents, failures)


def test_empty_files_of_every_kind_are_counted(tmp_path: Path) -> None:
    names = [
        f"{number}.jsonl{suffix}" for number, suffix in enumerate(("", ".gz", ".bz2", ".xz", ".zst", ".lz4"))
    ]
    told = account_of("jsonl", tmp_path / "in", dict.fromkeys(names, b"") | {"a.jsonl": THREE})
    assert told["documents"] == 3
    assert told["passed"] == {"file without a document": 6}


def test_what_is_no_file_of_the_corpus_is_named(tmp_path: Path) -> None:
    files: dict[str, Content] = {
        "a.jsonl": THREE,
        ".hidden.jsonl": THREE,
        ".folder/b.jsonl": THREE,
        "pipe.jsonl": os.mkfifo,
        "nowhere.jsonl": lambda place: place.symlink_to("gone"),
        "loop": lambda place: place.symlink_to("."),
    }
    told = account_of("jsonl", tmp_path / "in", files)
    assert told["documents"] == 6
    assert told["of_other_kinds"]["named"] == [".hidden.jsonl", "loop", "nowhere.jsonl", "pipe.jsonl"]


def test_a_file_of_several_names_is_read_once(tmp_path: Path) -> None:
    files: dict[str, Content] = {"a.jsonl": THREE, "link.jsonl": lambda place: place.symlink_to("a.jsonl")}
    told = account_of(
        "jsonl", tmp_path / "in", files, "", "a.jsonl", "../in/a.jsonl", "*.jsonl", "link.jsonl"
    )
    assert (told["files"], told["documents"]) == (1, 3)


def test_a_glob_is_read_by_its_letters_where_there_is_such_a_file(tmp_path: Path) -> None:
    told = account_of("jsonl", tmp_path / "in", {"a[1].jsonl": THREE, "a1.jsonl": THREE}, "a[1].jsonl")
    assert told["files"] == 1


def parquet(path: Path, columns: dict[str, Any] | None = None, names: tuple[str, ...] = ("text",)) -> None:
    table = (
        pa.table(columns) if columns else pa.Table.from_arrays([pa.array(["a b", "c d"])] * len(names), names)
    )
    pq.write_table(table, path, row_group_size=1)


@pytest.mark.parametrize(
    ("make", "documents", "failures"),
    [
        (lambda path: parquet(path, {"text": ["a b", None, "", "c d"]}), 2, 2),
        (lambda path: parquet(path, {"text": [["a"], ["b"]]}), 0, 2),
        (lambda path: parquet(path, {"text": [{"x": "a"}]}), 0, 1),
        (lambda path: parquet(path, {"text": [1, 2]}), 0, 2),
        (lambda path: parquet(path, {"text": pa.array(["a b"] * 3).dictionary_encode()}), 3, 0),
        (lambda path: parquet(path, names=("text", "text")), 0, 1),
        (lambda path: parquet(path, names=("text", "url", "url")), 2, 0),
        (lambda path: path.write_bytes(b"PAR1PAR1"), 0, 1),
    ],
)
def test_rows(make: Callable[[Path], Any], documents: int, failures: int, tmp_path: Path) -> None:
    told = account_of("parquet", tmp_path / "in", {"a.parquet": make})
    assert (told["documents"], sum(told["failures"].values())) == (documents, failures)


@pytest.mark.parametrize("kind", ["jsonl", "text", "html", "warc", "wet", "parquet"])
def test_a_file_that_went_away_meanwhile_is_one_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind if kind != 'text' else 'txt'}"
    path.write_bytes(b"x")
    config = CorpusConfig.model_validate({"kind": kind, "paths": [str(path)]})
    found = list_files(config)
    path.unlink()
    with pytest.raises(InputError, match=rf"{path}: cannot be read \(No such file"):
        list(read_all(found, config))
