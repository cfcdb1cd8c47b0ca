"""Bytes of a text file as UTF-8: byte order marks say what they are written in, and are no part of the text.

Unicode 15, section 23.8, has the marks; RFC 8259, section 8.1, lets readers of JSON ignore UTF-8's.
"""

import codecs
import io
from typing import IO

from data_prep.contract.raw import RawPieces

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32be"),
    (codecs.BOM_UTF16_LE, "utf-16le"),
    (codecs.BOM_UTF16_BE, "utf-16be"),
)
LONGEST_MARK = 4
CHUNK = 1 << 16


def mark_of(start: bytes) -> tuple[str, int]:
    """The encoding that a byte order mark names, and the mark's length; ("", 0) where there is none."""
    for mark, encoding in MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    return "", 0


def decoded(content: bytes) -> str:
    """The text of a small file in UTF-8 or what its mark says; `UnicodeDecodeError` where it is neither."""
    encoding, length = mark_of(content)
    return content[length:].decode(encoding or "utf-8")


def as_utf8(stream: IO[bytes], encoding: str = "") -> io.BufferedReader:
    """The bytes of a stream without its mark; UTF-16 and UTF-32 become UTF-8, what is broken in them U+FFFD.

    What is without a mark, or has UTF-8's, comes out byte for byte; without a mark it is in `encoding`, where
    that is given. The stream stays the caller's to close.
    """
    return io.BufferedReader(_Utf8(stream, encoding), CHUNK)


class _Utf8(RawPieces):
    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        # What is there, not more: trouble that comes later must not take along what came before.
        self._read = getattr(stream, "read1", stream.read)
        self._start = b""
        while len(self._start) < LONGEST_MARK and (more := self._read(LONGEST_MARK - len(self._start))):
            self._start += more
        marked, length = mark_of(self._start)
        self._start = self._start[length:]
        self._decoder = None
        if (marked or encoding) not in ("", "utf-8"):
            self._decoder = codecs.getincrementaldecoder(marked or encoding)("replace")
        self._ended = False

    def _piece(self, size: int) -> bytes:
        piece = b""
        while not piece and not self._ended:
            chunk, self._start = self._start or self._read(size), b""
            self._ended = not chunk
            piece = self._decoder.decode(chunk, self._ended).encode() if self._decoder else chunk
        return piece
