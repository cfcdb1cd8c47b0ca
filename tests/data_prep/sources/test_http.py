import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.sources.http import BodyError, decode_body, join_chunks

PAGE = b"<html>hello</html>"


@pytest.mark.parametrize(
    ("body", "transfer", "content"),
    [
        (PAGE, "", ""),
        (b"12\r\n<html>hello</html>\r\n0\r\n\r\n", "chunked", ""),
        (b"6;x=y\r\n<html>\r\nC\r\nhello</html>\r\n0\r\n\r\n", "Chunked", ""),
        (PAGE, "chunked", ""),  # the crawler undid it and left the header
        (gzip.compress(PAGE, mtime=0), "", "gzip"),
        (PAGE, "", "gzip"),
        (zlib.compress(PAGE), "", "deflate"),
        (zlib.compress(PAGE)[2:-4], "", "deflate"),
        (PAGE, "", "br"),
        (PAGE, "", "identity"),
    ],
)
def test_bodies(body: bytes, transfer: str, content: str) -> None:
    assert decode_body(body, transfer, content, 1000) == PAGE


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5))
def test_chunks(pieces: list[bytes]) -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    assert join_chunks(body + b"0\r\n\r\n") == b"".join(pieces)
    assert join_chunks(body) == b"".join(pieces)  # the last chunk is missing


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 60_000
    with pytest.raises(BodyError, match="page too large"):
        decode_body(bomb, "", "gzip", 1_000_000)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_broken_encodings(encoding: str) -> None:
    with pytest.raises(BodyError, match="broken content encoding"):
        decode_body(b"\x1f\x8b\x08junk that is no stream" + bytes(range(256)), "", encoding, 1000)
