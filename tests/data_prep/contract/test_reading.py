"""The checked readers: what is right comes out, and everything that is wrong is one sentence with a name."""

import io
import json
import os
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.contract.names import printable_json
from data_prep.contract.reading import (
    open_zip,
    plain_name,
    printable,
    read_array,
    read_json,
    read_jsonl,
    read_yaml,
    without_password,
)
from data_prep.contract.settings import InputError

WRONG_JSON: dict[str, bytes] = {
    "empty": b"",
    "cut": b'{"a": [1, 2',
    "nested deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested as deep as the parser goes": b"[" * 500 + b"]" * 500,
    "NaN": b'{"a": NaN}',
    "infinite": b'{"a": [-Infinity]}',
    "infinite by its exponent": b'{"a": 1e999}',
    "digits without end": b"[" + b"9" * 10_000 + b"]",
    "not UTF-8": b'{"a": "\xff"}',
    "NUL bytes": b"\0" * 200,
    "a NUL byte in a string": b'{"a": "\0"}',
    "half a surrogate pair": b'{"a": "\\ud83d"}',
    "half a surrogate pair as a key": b'{"\\udc00": 1}',
    "two values": b"{}{}",
}


@pytest.mark.parametrize("kind", WRONG_JSON)
def test_wrong_json_is_one_sentence_with_the_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(WRONG_JSON[kind])
    with pytest.raises(InputError, match=r"some\.json: ") as found:
        read_json(path)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < len(str(path)) + 200
    with pytest.raises(InputError, match=r"an answer: "):
        read_json(WRONG_JSON[kind], "an answer")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_in_what_its_mark_says(encoding: str) -> None:
    assert read_json('{"a": "Ünï 😀"}'.encode(encoding)) == {"a": "Ünï 😀"}


def test_places_that_hold_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b" " * 100)
    for path, problem in [
        (tmp_path / "none", "no such file"),
        (tmp_path, "no regular file"),
        (tmp_path / "pipe", "no regular file"),
        (Path("/dev/zero"), "no regular file"),
        (tmp_path / "large", "larger than 99 bytes"),
        (tmp_path / "a\0b", "cannot be read"),
        (tmp_path / ("x" * 300), "cannot be read"),
    ]:
        with pytest.raises(InputError, match=problem):
            read_json(path, limit=99)


def test_json_lines_have_numbers_and_may_be_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    lines = [
        b'\xef\xbb\xbf{"a": 1}',
        b"",
        b"{",
        b'{"a": "\xff"}',
        b"\0" * 200,
        b"[" * 9_999,
        b'\xef\xbb\xbf{"a": 2}',
    ]
    path.write_bytes(b"\r\n".join(lines) + b'\n{"a": "' + b"x" * 10_000 + b'"}\n{"a": 3}')
    bad: list[tuple[int, str]] = []
    found = list(
        read_jsonl(path, skip=lambda number, error: bad.append((number, str(error))), line_bytes=10_000)
    )
    assert found == [(1, {"a": 1}), (7, {"a": 2}), (9, {"a": 3})]
    assert [number for number, _ in bad] == [3, 4, 5, 6, 8]
    assert all(f"some.jsonl: line {number}" in problem for number, problem in bad)
    with pytest.raises(InputError, match=r"some\.jsonl: line 3"):
        list(read_jsonl(path))


def test_json_lines_in_utf16_and_what_is_not_strict() -> None:
    assert list(read_jsonl("\n".join(['{"a": "ж"}', "[1]"]).encode("utf-16"))) == [(1, {"a": "ж"}), (2, [1])]
    rows = [row for _, row in read_jsonl(b'["\\ud83d"]\n["\xff", 1e999]\n', strict=False)]
    assert rows == [["\ud83d"], ["\ufffd", float("inf")]]


def bomb(levels: int = 9) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


WRONG_YAML: dict[str, str | bytes] = {
    "aliases that multiply": bomb(),
    "merges that multiply": bomb().replace("[x, x", "[{y: 1}, x") + "\nlast: {<<: *a8}",
    "a list in itself": "&a [*a]",
    "deep flow": "[" * 20_000 + "]" * 20_000,
    "deep blocks": "- " * 20_000 + "x",
    "an object": "!!python/object/apply:os.system [true]",
    "no date": "a: 2024-99-99",
    "no number": 'a: !!int ""',
    "no truth": "a: !!bool maybe",
    "no time": "a: !!timestamp x",
    "control characters": "a: \x1b[2J",
    "not UTF-8": b"a: \xff",
    "two documents": "a: 1\n---\nb: 2",
    "cut": "a: [1, 2",
    "a list as a key": "? [1]\n: 2",
    "too large": "# " + "x" * (1 << 20),
    "digits without end": "a: " + "9" * 10_000,
}


@pytest.mark.parametrize("kind", WRONG_YAML)
def test_wrong_yaml_is_one_sentence_within_a_second(kind: str) -> None:
    begun = time.process_time()
    with pytest.raises(InputError, match=r"some\.yaml: ") as found:
        read_yaml(WRONG_YAML[kind], "some.yaml")
    assert time.process_time() - begun < 2
    assert "\n" not in str(found.value)
    assert "\x1b" not in str(found.value)
    assert len(str(found.value)) < 300


def test_yaml_names_the_line_and_takes_honest_aliases() -> None:
    with pytest.raises(InputError, match="at line 3"):
        read_yaml("a: 1\nb: 2\n  c: 3\n", "some.yaml")
    found = read_yaml("base: &b {x: 1, y: .inf}\none: {<<: *b, x: 2}\ntwo: *b\n")
    assert found["one"] == {"x": 2, "y": float("inf")}
    assert found["two"] == {"x": 1, "y": float("inf")}
    found = read_yaml("<<: {x: 1}\n<<: {y: 2}\n1: a\n'1': b\n")
    assert found == {"x": 1, "y": 2, 1: "a", "1": "b"}
    with pytest.raises(InputError, match=r"not YAML at line 3 \(the key 'steps' is there twice"):
        read_yaml("train:\n  steps: 1\n  steps: 2\n")
    assert read_yaml("") is None
    assert read_yaml("\ufeffa: 1".encode()) == {"a": 1}


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def with_header(header: str, values: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + values


WRONG_ARRAYS: dict[str, bytes] = {
    "empty": b"",
    "pickled objects": npy(np.array([{}], dtype=object)),
    "cut": npy(np.arange(100))[:-1],
    "longer": npy(np.arange(100)) + b"x",
    "another kind": npy(np.zeros(3)),
    "another number of dimensions": npy(np.zeros((3, 3), int)),
    "a shape for which no memory would do": with_header(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000000,), }"
    ),
    "a shape below zero": with_header("{'descr': '<i8', 'fortran_order': False, 'shape': (-1,), }", bytes(8)),
    "no shape": with_header("{'descr': '<i8', 'fortran_order': False}"),
    "code in the header": with_header("__import__('os').system('true')"),
    "a header that is cut": npy(np.arange(100))[:40],
    "brackets without end": with_header("(" * 5_000),
    "items of no bytes": with_header("{'descr': '|V0', 'fortran_order': False, 'shape': (9,), }"),
}


@pytest.mark.parametrize("kind", WRONG_ARRAYS)
def test_wrong_arrays_are_one_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "some.npy"
    path.write_bytes(WRONG_ARRAYS[kind])
    for mapped in (False, True):
        with pytest.raises(InputError, match=r"some\.npy: "):
            read_array(path, "iu", 1, mapped=mapped)


@pytest.mark.parametrize("shape", [(0,), (7,), (3, 4), (0, 5)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_what_was_written(shape: tuple[int, ...], order: Any, tmp_path: Path) -> None:
    array = np.asarray(np.arange(np.prod(shape), dtype=">u4").reshape(shape), order=order)
    np.save(tmp_path / "some.npy", array)
    for mapped in (False, True):
        found = read_array(tmp_path / "some.npy", "iu", len(shape), mapped=mapped)
        assert found.shape == shape
        assert (found == array).all()
    row = np.dtype([("a", "<u4"), ("b", "<u8")])
    assert read_array(npy(np.ones(3, row)), row, 1)["b"].tolist() == [1, 1, 1]
    with pytest.raises(InputError, match="is expected"):
        read_array(npy(np.ones(3, row)), np.dtype([("a", "<u4"), ("b", "<i8")]), 1)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as packed:
        for name, content in members.items():
            packed.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def patched(content: bytes, local: int, central: int, value: bytes) -> bytes:
    """A field of the first member changed in its local header and in the central directory."""
    raw = bytearray(content)
    for place in (local, raw.find(b"PK\x01\x02") + central):
        raw[place : place + len(value)] = value
    return bytes(raw)


SMALL = zipped({"a": b"x" * 1_000})
WRONG_ZIPS: dict[str, bytes] = {
    "empty": b"",
    "cut": SMALL[:-10],
    "a bomb": zipped({"a": bytes(5_000_000)}),
    "a bomb of many": zipped({str(n): bytes(20_000) for n in range(100)}),
    "an unknown method": patched(SMALL, 8, 10, b"\x61\x00"),
    "another method": zipped({"a": b"x"}, zipfile.ZIP_LZMA),
    "encrypted": patched(SMALL, 6, 8, b"\x01\x00"),
    "a size that is no size": patched(SMALL, 22, 24, b"\x02\x00\x00\x00"),
    "another sum": patched(SMALL, 14, 16, b"abcd"),
    "a way out": zipped({"../a": b"x"}),
    "an absolute name": zipped({"/a": b"x"}),
}


@pytest.mark.parametrize("kind", WRONG_ZIPS)
def test_wrong_archives_are_one_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "some.zip"
    path.write_bytes(WRONG_ZIPS[kind])
    for source in (path, WRONG_ZIPS[kind]):
        with pytest.raises(InputError, match=r"some\.zip: "):
            open_zip(source, "some.zip", limit=1_000_000)


def test_archives_give_the_members_that_are_wanted() -> None:
    content = zipped({"a": b"1", "b/c": b"2", "../d": b"3"})
    assert open_zip(content, names=("a", "b/c")) == {"a": b"1", "b/c": b"2"}


@pytest.mark.parametrize("name", ["train", "train/shard-00000.tar", "a b/ü.txt", "v1.0", "..x", "a-b"])
def test_plain_names(name: str) -> None:
    assert plain_name(name, "manifest.json") == name


@pytest.mark.parametrize(
    "name",
    ["", "/a", "..", ".", "../a", "a/../b", "a//b", "a/", "./a", "-rf", "a/-b", "~/a", "a\\b", "C:\\a", "a\0",
     "a\nb", "a\x85", "a\u202eb", "\ud800", "x" * 300, "a/" * 600 + "a", 5, None, ["a"], b"a"],
)  # fmt: skip
def test_names_that_are_not_plain(name: object) -> None:
    with pytest.raises(InputError, match=r"manifest\.json: .* is no plain relative name") as found:
        plain_name(name, "manifest.json")
    assert printable(str(found.value)) == str(found.value)


def test_what_moves_a_cursor_is_made_visible() -> None:
    assert printable("a\x1b[31m\x9b\u202e\r\0\ud800é\n\tש") == ("a\\x1b[31m\\x9b\\u202e\\r\\x00\\ud800é\n\tש")


@pytest.mark.parametrize(
    "sign",
    [
        *"\x07\x08\x0b\x7f\x85\x90\x9d\u061c\u200e\u200f\u2028\u202a\u2066\u206f\ufeff\ufffb\U000e0041\U000e007f"
    ],
)
def test_each_sign_of_that_kind_is_shown_and_json_stays_json(sign: str) -> None:
    assert sign not in printable(f"a{sign}b")
    line = printable_json({"said": f"é{sign}"})
    assert sign not in line
    assert "é" in line
    assert json.loads(line) == {"said": f"é{sign}"}


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://joe:S3CRET@host/a", "https://joe:***@host/a"),
        ("postgresql+psycopg2://joe:S3CRET@host:5432/db", "postgresql+psycopg2://joe:***@host:5432/db"),
        ("https://:S3CRET@host", "https://:***@host"),
        ("https://joe:S3@CR:ET@host/a", "https://joe:***@host/a"),
        ("https://joe:S3/CRET@host/a", "https://joe:***@host/a"),
        ("https://S3CRET@host/a", "https://***@host/a"),
        ("zip://a.txt::https://joe:S3CRET@host/b.zip", "zip://a.txt::https://joe:***@host/b.zip"),
        ("see 'http://a:S3CRET@b/' and http://c:S3CRET@d/.", "see 'http://a:***@b/' and http://c:***@d/."),
        (
            "https://b.s3.test/x?X-Amz-Credential=S3CRET&X-Amz-Date=1&X-Amz-Signature=S3CRET",
            "https://b.s3.test/x?X-Amz-Credential=***&X-Amz-Date=1&X-Amz-Signature=***",
        ),
        ("https://c.test/x?sv=1&sig=S3CRET%3D#a", "https://c.test/x?sv=1&sig=***#a"),
        ("https://h.test/x#access_token=S3CRET", "https://h.test/x#access_token=***"),
        ("https://h.test/x?a=1&jwt=S3CRET", "https://h.test/x?a=1&jwt=***"),
        ("https://h.test/x?pass=S3CRET;b=2", "https://h.test/x?pass=***;b=2"),
        ("https://h.test/x?authorization=S3CRET", "https://h.test/x?authorization=***"),
        ("https://h.test/x?bearer=S3CRET&c=d", "https://h.test/x?bearer=***&c=d"),
        ("https://h.test/x?session=S3CRET&c=d", "https://h.test/x?session=***&c=d"),
        ("https://h.test/a;jsessionid=S3CRET", "https://h.test/a;jsessionid=***"),
        ("https://h.test/?PHPSESSID=S3CRET&page=2", "https://h.test/?PHPSESSID=***&page=2"),
        ("https://h.test/?my.sid=S3CRET", "https://h.test/?my.sid=***"),
        ("https://h.test/?newsid=4&compass=1", "https://h.test/?newsid=4&compass=1"),
        ("https://h.test/x?token[]=S3CRET", "https://h.test/x?token[]=***"),
        ("https://h.test/x?token='S3CRET'", "https://h.test/x?token='***'"),
        (
            "https://h.test/go?to=%2Fb%3Ftoken%3DS3CRET%26c%3D1",
            "https://h.test/go?to=%2Fb%3Ftoken%3D***%26c%3D1",
        ),
        ("mssql://?odbc_connect=DRIVER%3Dx%3BPWD%3DS3CRET", "mssql://?odbc_connect=DRIVER%3Dx%3BPWD%3D***"),
        ("AccountName=a;AccountKey=S3CRET;E=b", "AccountName=a;AccountKey=***;E=b"),
        ("joe:S3CRET@proxy:3128", "joe:***@proxy:3128"),
        ("http:joe:S3CRET@host/", "http:joe:***@host/"),
        ("//joe:S3CRET@host/a", "//joe:***@host/a"),
        ("https://f.test/photos/1:2@N00", "https://f.test/photos/1:2@N00"),
        ("failed with {'Authorization': 'Bearer S3CRET'}", "failed with {'Authorization': '***'}"),
        ("Cookie: id=S3CRET; b=S3CRET", "Cookie: ***"),
        ("https://host:8080/a@2x.png", "https://host:8080/a@2x.png"),
        ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("ssh://git@host/a", "ssh://git@host/a"),
        ("/a/b@c:d", "/a/b@c:d"),
        ("https://h.test/back?code=S3CRET&state=1", "https://h.test/back?code=***&state=1"),
        ("https://h.test/x?zipcode=4", "https://h.test/x?zipcode=4"),
        ("https://h.test/x?Policy=S3CRET&Key-Pair-Id=S3CRET", "https://h.test/x?Policy=***&Key-Pair-Id=***"),
        ("https://h.test/x?to%6Ben=S3CRET&a%20b=c", "https://h.test/x?to%6Ben=***&a%20b=c"),
        ("postgresql://joe:S3 C RET@host/db", "postgresql://joe:***@host/db"),
        ("https://host:8080 refused joe@host", "https://host:8080 refused joe@host"),
        ("s3://S3CRET@bucket/key", "s3://***@bucket/key"),
        ("ftp://S3CRET@host/a", "ftp://***@host/a"),
        ("abfss://box@account.dfs.test/a", "abfss://box@account.dfs.test/a"),
        ("registry:5000/image@sha256:ab", "registry:5000/image@sha256:ab"),
    ],
)
def test_addresses_without_their_secrets(address: str, shown: str) -> None:
    assert without_password(address) == shown
    assert without_password(shown) == shown


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "://",
        "://a:",
        "https://a",
        "?sig",
        "@",
        ":",
        "a=",
        "&key=",
        "a:b@",
        "//a:",
        "%26",
        "?a.",
        "cookie:",
        "://a:b ",
        "&%",
        "&a%=",
    ],
)
def test_addresses_are_looked_at_in_linear_time(unit: str) -> None:
    begun = time.process_time()
    without_password(unit * (1_000_000 // len(unit)))
    printable(unit * (1_000_000 // len(unit)))
    assert time.process_time() - begun < 5


def test_the_sentence_itself_has_no_secret() -> None:
    with pytest.raises(InputError) as found:
        read_json(b"", "https://joe:S3CRET@host/a.json")
    assert "S3CRET" not in str(found.value)
    assert json.loads(json.dumps(str(found.value))) == str(found.value)
