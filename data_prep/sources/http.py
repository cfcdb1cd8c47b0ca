"""HTTP bodies as archives hold them: chunks and compressions undone, within a limit."""

import zlib
from collections.abc import Iterator

MEMBER = b"\x1f\x8b\x08"
"""Begins a member of gzip."""


class BodyError(ValueError):
    """A body that cannot be decoded; the message is a few words to count by."""


def decode_body(body: bytes, transfer_encoding: str, content_encoding: str, limit: int) -> bytes:
    """The bytes of the page. Raises `BodyError` where it is broken or longer than `limit` bytes.

    Archives often keep a header whose encoding the crawler has already undone, so a body that does not look
    encoded is taken as it is.
    """
    if "chunked" in transfer_encoding.lower():
        body = join_chunks(body)
    for encoding in reversed([part.strip().lower() for part in content_encoding.split(",")]):
        if encoding in ("gzip", "x-gzip") and body[:2] == b"\x1f\x8b":
            body = _inflate(body, 31, limit)
        elif encoding == "deflate" and not _looks_like_text(body):
            body = _inflate(body, 15 if body[:1] == b"\x78" else -15, limit)
        elif encoding in ("br", "zstd") and not _looks_like_text(body):
            body = _stream(body, encoding, limit)
    if len(body) > limit:
        raise BodyError("page too large")
    return body


def join_chunks(body: bytes) -> bytes:
    """The chunks of a chunked body laid together; the body itself where it does not start with a chunk.

    A body that breaks off between or within chunks gives what came before.
    """
    pieces: list[bytes] = []
    at = 0
    while (end := body.find(b"\n", at, at + 64)) >= 0:
        try:
            size = int(body[at:end].split(b";")[0].strip() or b"x", 16)
        except ValueError:
            break
        if size <= 0:
            return b"".join(pieces)
        pieces.append(body[end + 1 : end + 1 + size])
        at = end + 1 + size
        at += 1 if body[at : at + 1] == b"\n" else 2
    return b"".join(pieces) if pieces else body


def _looks_like_text(body: bytes) -> bool:
    return body.lstrip()[:1] == b"<"


def _inflate(body: bytes, window: int, limit: int) -> bytes:
    """The first `limit` + 1 bytes of a body; one of several members is all of them laid together."""
    pieces: list[bytes] = []
    size = 0
    try:
        while body and size <= limit:
            decoder = zlib.decompressobj(wbits=window)
            pieces.append(decoder.decompress(body, limit + 1 - size))
            size += len(pieces[-1])
            body = decoder.unused_data if decoder.unused_data.startswith(MEMBER) else b""
    except zlib.error as error:
        raise BodyError("broken content encoding") from error
    return b"".join(pieces)


def _stream(body: bytes, encoding: str, limit: int) -> bytes:
    import io

    from fastwarc.stream_io import BrotliReader, ZstdReader

    reader = (BrotliReader if encoding == "br" else ZstdReader)(io.BytesIO(body))
    pieces: Iterator[bytes] = iter(lambda: reader.read(1 << 20), b"")
    page = bytearray()
    try:
        for piece in pieces:
            page += piece
            if len(page) > limit:
                break
    except OSError as error:
        raise BodyError("broken content encoding") from error
    return bytes(page)
