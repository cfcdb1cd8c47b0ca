"""The records of a WARC file, and whatever stands between them: every byte is in one or the other.

Read as leniently as archives are written: WARC 0.17 to 1.1, lines that end in CR LF or in LF, header names in
any case, any number of empty lines between records. What is no record where one should start is passed over
up to the next one and told as a gap. Source: WARC 1.1 (iipc.github.io/warc-specifications), section 4.
"""

import re
from bisect import bisect_right
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import RawIOBase

from data_prep.sources.streams import CHUNK, damage_errors

MAGIC = b"WARC/"
HEADER_BYTES = 1 << 20
"""Longest header of a record, and of an HTTP answer in it."""
LENGTH = "content-length"
_END_OF_HTTP_HEADER = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True)
class Record:
    kind: str
    """Its WARC-Type."""
    headers: Mapping[str, str]
    """Fields by their names in small letters."""
    offset: int
    """Where it starts: in the file, or where that is compressed, where its member starts in the file."""
    length: int
    """Bytes of its content."""
    content: bytes
    """Its first bytes, as many as were asked for; fewer where the file ends before."""
    cut: bool
    """Whether the file ends inside of it."""


@dataclass(frozen=True)
class Gap:
    """Bytes that are no record."""

    offset: int
    size: int
    reason: str


class Cursor:
    """The bytes of a stream by line and by number. Its trouble ends it, and is kept as `problem`."""

    def __init__(self, raw: RawIOBase) -> None:
        self._raw, self._buffer, self._at = raw, b"", 0
        self.position = 0
        self.problem: Exception | None = None

    def line(self, limit: int) -> bytes:
        """The bytes up to the next line's end, with it; at most `limit`. Empty at the end."""
        searched = 0
        while True:
            end = self._buffer.find(b"\n", self._at + searched, self._at + limit)
            searched = len(self._buffer) - self._at
            if end >= 0 or searched >= limit or not self._fill():
                return self._take(end + 1 - self._at if end >= 0 else min(searched, limit))

    def starts_with(self, word: bytes) -> bool:
        """Whether the next bytes are these."""
        while len(self._buffer) - self._at < len(word) and self._fill():
            pass
        return self._buffer.startswith(word, self._at)

    def read(self, size: int) -> bytes:
        """That many bytes; fewer at the end of the stream."""
        pieces = []
        while size:
            piece = self._take(size)
            pieces.append(piece)
            size -= len(piece)
            if size and not self._fill():
                break
        return b"".join(pieces)

    def skip(self, size: int) -> int:
        """Pass over that many bytes; how many there were."""
        passed = 0
        while passed < size:
            passed += len(self._take(size - passed))
            if passed < size and not self._fill():
                break
        return passed

    def _take(self, size: int) -> bytes:
        piece = self._buffer[self._at : self._at + size]
        self._at += len(piece)
        self.position += len(piece)
        return piece

    def _fill(self) -> bool:
        try:
            chunk = b"" if self.problem else self._raw.read(CHUNK) or b""
        except damage_errors() as error:
            self.problem, chunk = error, b""
        if chunk:
            self._buffer, self._at = self._buffer[self._at :] + chunk, 0
        return bool(chunk)


def records(
    cursor: Cursor, starts: Sequence[tuple[int, int]], wanted: Container[str], most: int
) -> Iterator[Record | Gap]:
    """Records and gaps up to the end of the stream, or to its trouble.

    Those whose type is `wanted` come with at most `most` bytes of content. `starts` has where the members of
    a compressed file start (`streams.Members`); in one that has none, an offset is one in the stream.
    """
    while True:
        line = after_blank_lines(cursor)
        start = cursor.position - len(line)
        if not line:
            return
        if not line.startswith(MAGIC):
            size = _pass_junk(cursor, len(line))
            yield Gap(place(starts, start), size, "no WARC record")
            continue
        headers, ended = _headers(cursor)
        length = headers.get(LENGTH, "")
        offset = place(starts, start)
        if not ended:
            yield Gap(offset, cursor.position - start, "record header cut off")
        elif not (length.isascii() and length.isdigit() and len(length) < 20):
            size = cursor.position - start
            yield Gap(offset, size + _pass_junk(cursor, 0), "record without a length")
        else:
            yield _record(cursor, headers, offset, int(length), wanted, most)


def after_blank_lines(cursor: Cursor) -> bytes:
    """The next line that is not empty; nothing at the end."""
    while (line := cursor.line(CHUNK)) in (b"\r\n", b"\n", b"\r"):
        pass
    return line


def _pass_junk(cursor: Cursor, size: int) -> int:
    """Pass over lines up to one that begins a record; the size of what was passed, `size` of it before."""
    whole = True  # whether a line starts here
    while not (whole and cursor.starts_with(MAGIC)):
        line = cursor.line(CHUNK)
        if not line:
            break
        size, whole = size + len(line), line.endswith(b"\n")
    return size


def _headers(cursor: Cursor) -> tuple[dict[str, str], bool]:
    """The fields of a header, and whether an empty line ends it as it should."""
    lines: list[bytes] = []
    size = 0
    while (line := cursor.line(CHUNK)).endswith(b"\n") and size < HEADER_BYTES:
        if not line.strip(b"\r\n"):
            return fields(lines), True
        lines.append(line)
        size += len(line)
    return fields(lines), False


def _record(
    cursor: Cursor, headers: dict[str, str], offset: int, length: int, wanted: Container[str], most: int
) -> Record:
    kind = headers.get("warc-type", "").lower()
    content = cursor.read(min(length, most)) if kind in wanted else b""
    left = length - len(content)
    return Record(kind, headers, offset, length, content, cursor.skip(left) < left)


def fields(lines: Sequence[bytes]) -> dict[str, str]:
    """Small names and values of header lines; the first of a name counts, folded lines are joined."""
    found: dict[str, list[str]] = {}
    last: list[str] = []
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text[:1] in (" ", "\t"):
            last.append(text.strip())
            continue
        name, colon, value = text.partition(":")
        name, last = name.strip().lower(), [value.strip()]
        if colon:
            found.setdefault(name, last)
    return {name: " ".join(parts) for name, parts in found.items()}


def http_answer(content: bytes) -> tuple[int | None, dict[str, str], int]:
    """The status of an HTTP answer, None where it says none, its header fields, and where its body starts."""
    end = _END_OF_HTTP_HEADER.search(content, 0, HEADER_BYTES)
    first, *lines = content[: end.start() if end else HEADER_BYTES].split(b"\n")
    code = first.split()[1:2]
    status = int(code[0]) if code and code[0].isdigit() and len(code[0]) < 5 else None
    return status, fields(lines), end.end() if end else len(content)


def place(starts: Sequence[tuple[int, int]], position: int) -> int:
    """Where in a file something starts that starts at `position` of its decompressed bytes."""
    if not starts:
        return position
    given, taken = starts[bisect_right(starts, (position, 1 << 62)) - 1]
    return taken + position - given
