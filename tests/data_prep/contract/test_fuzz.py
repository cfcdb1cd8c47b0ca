"""Good files with bytes flipped, cut, swapped and put in twice: an `InputError`, or a value that may be true.

A checksum is not for these formats to have, so a value may differ from what was written; what must not be is
a traceback, a hang, or an array whose bytes are not those of the file.
"""

import io
import json
import math
import random
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.contract.reading import open_zip, read_array, read_json, read_jsonl, read_yaml
from data_prep.contract.settings import InputError

bounded = settings(max_examples=150, suppress_health_check=list(HealthCheck), database=None)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=9),
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


def worse(content: bytes, draw: random.Random) -> bytes:
    """The content with one to three faults of a disk, a line or an editor."""
    raw = bytearray(content)
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(raw) + 1)
        kind = draw.randrange(7)
        if kind == 0 and place < len(raw):
            raw[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del raw[place:]
        elif kind == 2:
            del raw[place : place + draw.randint(1, 9)]
        elif kind == 3:
            raw[place:place] = raw[: draw.randint(0, len(raw))]
        elif kind == 4:
            raw[place : place + 9] = bytes(9)
        elif kind == 5:
            other = draw.randrange(len(raw) + 1)
            raw[place : place + 4], raw[other : other + 4] = raw[other : other + 4], raw[place : place + 4]
        else:
            raw[place : place + 1] = draw.randbytes(draw.randint(1, 4))
    return bytes(raw)


def tried(read: Callable[[], Any]) -> Any:
    """What was read; None where it was refused in one sentence that names the file."""
    try:
        return read()
    except InputError as error:
        said = str(error)
    assert said.startswith("file")
    assert "\n" not in said
    assert len(said) < 400
    return None


def plain(value: Any) -> None:
    """Fails where a value is no JSON, or cannot be written as UTF-8."""
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


@given(values, st.randoms(use_true_random=False))
@bounded
def test_json(value: Any, draw: random.Random) -> None:
    content = json.dumps(value, ensure_ascii=draw.random() < 0.5).encode()
    assert read_json(content, "file") == value
    plain(tried(lambda: read_json(worse(content, draw), "file")))


@given(st.lists(values, min_size=1, max_size=5), st.randoms(use_true_random=False))
@bounded
def test_json_lines(rows: list[Any], draw: random.Random) -> None:
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert [row for _, row in read_jsonl(content, "file")] == rows
    bad = worse(content, draw)
    plain(tried(lambda: list(read_jsonl(bad, "file"))))
    skipped: list[int] = []
    found = [number for number, _ in read_jsonl(bad, "file", skip=lambda number, _: skipped.append(number))]
    blank = [n for n, line in enumerate(io.BytesIO(bad), 1) if not line.strip()]
    if bad[:1] not in (b"\xff", b"\xfe", b"\0", b"\xef"):  # else its lines are those of another encoding
        assert sorted(found + skipped + blank) == [n for n, _ in enumerate(io.BytesIO(bad), 1)]


@given(values, st.randoms(use_true_random=False))
@bounded
def test_yaml(value: Any, draw: random.Random) -> None:
    content = yaml.safe_dump(value, default_flow_style=draw.random() < 0.5)
    assert read_yaml(content, "file") == value
    tried(lambda: read_yaml(worse(content.encode(), draw), "file"))


@given(
    st.sampled_from(["<u2", "<i8", "<f4", ">u4", "|u1"]),
    st.lists(st.integers(0, 5), min_size=1, max_size=2),
    st.randoms(use_true_random=False),
)
@bounded
def test_arrays(dtype: str, shape: list[int], draw: random.Random) -> None:
    array = np.arange(math.prod(shape)).astype(dtype).reshape(shape)
    buffer = io.BytesIO()
    np.save(buffer, array)
    found = read_array(buffer.getvalue(), array.dtype, len(shape), "file")
    assert (found.dtype, found.shape, found.tolist()) == (array.dtype, array.shape, array.tolist())
    bad = worse(buffer.getvalue(), draw)
    other = tried(lambda: read_array(bad, array.dtype, len(shape), "file"))
    if other is not None:
        assert other.dtype == array.dtype
        assert other.tobytes("A") == (bad[-other.nbytes :] if other.nbytes else b"")
    tried(lambda: read_array(bad, "iuf", len(shape), "file"))


@given(
    st.dictionaries(st.sampled_from("abcd"), st.binary(max_size=50), min_size=1),
    st.randoms(use_true_random=False),
)
@bounded
def test_archives(members: dict[str, bytes], draw: random.Random) -> None:
    buffer = io.BytesIO()
    method = draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    with zipfile.ZipFile(buffer, "w", method) as packed:
        for name, content in members.items():
            packed.writestr(zipfile.ZipInfo(name), content, method)
    assert open_zip(buffer.getvalue(), "file") == members
    found = tried(lambda: open_zip(worse(buffer.getvalue(), draw), "file"))
    # Zips have a sum of each member, so what comes out is what went in, though maybe under another name.
    assert found is None or set(found.values()) <= {*members.values(), b""}


@pytest.mark.parametrize(
    "read", [read_json, read_yaml, open_zip, lambda raw, name: read_array(raw, "iuf", 1, name)]
)
def test_anything_at_all(read: Callable[[bytes, str], Any]) -> None:
    @given(st.binary(max_size=200))
    @bounded
    def check(raw: bytes) -> None:
        tried(lambda: read(raw, "file"))

    check()
