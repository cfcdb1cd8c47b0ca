"""The bytes of a file whatever its compression: every member of it, from its first byte to its last.

What lies behind a member and is none raises an error, as does a member that is cut off: nothing is taken for
the end of a file but its end. `metered` counts the bytes that were read as they lie on disk.
"""

import bz2
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol

from data_prep.contract.raw import RawPieces
from data_prep.documents import Failure
from data_prep.sources.lz4 import Lz4Members

CHUNK = 1 << 16
MOST_AT_ONCE = 1 << 20
"""Bytes that are unpacked in one go: a few packed ones may stand for gigabytes."""
ZSTD_CHUNK = 1 << 12
"""Packed bytes in one go where the unpacked ones cannot be bounded: 4 bytes may stand for 128 KiB."""
WINDOW = 1 << 31
"""Largest window of a zst frame (RFC 8878, 3.1.1.1.2): what `zstd --long=31` writes."""

MAGICS = {
    b"\x1f\x8b\x08": ".gz",
    b"\xfd7zXZ\0": ".xz",
    b"BZh": ".bz2",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"\x04\x22\x4d\x18": ".lz4",
}
"""What compressed files begin with, by which they are known where their names do not say it."""


class Meter:
    """Bytes of files that were read."""

    bytes = 0


_METER: ContextVar[Meter] = ContextVar("meter")


@contextmanager
def metered() -> Iterator[Meter]:
    """Within this, the bytes that are read of any file opened here are counted."""
    meter = Meter()
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)


def count_read(size: int) -> None:
    """Count bytes that something else has read."""
    meter = _METER.get(None)
    if meter:
        meter.bytes += size


class Counted(io.FileIO):
    """A file on disk whose bytes are counted as they are read."""

    def readinto(self, buffer: Any) -> int | None:
        count = super().readinto(buffer)
        count_read(count or 0)
        return count

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return self.readall()
        found = super().read(size) or b""
        count_read(len(found))
        return found

    def readall(self) -> bytes:
        found = super().readall() or b""
        count_read(len(found))
        return found


def open_stream(path: str) -> io.BufferedReader:
    """The decompressed bytes of a file. Reading raises one of `damage_errors` where the file is broken."""
    return io.BufferedReader(open_raw(path), CHUNK)


def open_raw(path: str) -> io.RawIOBase:
    """The same without a buffer: `Members` where its name or its first bytes say that it is compressed."""
    raw = Counted(path)
    match Path(path).suffix.lower() if Path(path).suffix.lower() in MAGICS.values() else _by_magic(raw):
        case ".gz":
            return Members(raw, _Gzip)
        case ".xz":
            return Members(raw, lzma.LZMADecompressor)
        case ".bz2":
            return Members(raw, bz2.BZ2Decompressor)
        case ".zst":
            return Members(raw, _Zstd, ZSTD_CHUNK)
        case ".lz4":
            return Lz4Members(raw)
        case _:
            return raw


def _by_magic(raw: Counted) -> str:
    start = os.pread(raw.fileno(), 6, 0)
    return next((suffix for magic, suffix in MAGICS.items() if start.startswith(magic)), "")


class Decoder(Protocol):
    """What bz2 and lzma have, and the others are given."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    needs_input = True

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        found = self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)
        # What zlib still holds inside comes out by itself with the next bytes or at the end.
        self.needs_input = not self._decoder.unconsumed_tail and len(found) < max_length
        return found


class _Zstd:
    needs_input = True

    def __init__(self) -> None:
        import zstandard

        self._decoder = zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj()

    @property
    def eof(self) -> bool:
        return bool(self._decoder.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._decoder.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return bytes(self._decoder.decompress(data))


class Members(RawPieces):
    """The decompressed bytes of a file of any number of members (gzip), frames (zst) or streams (xz, bz2).

    `starts` has, of each member so far, where it starts: in the decompressed bytes, and in the file.
    """

    def __init__(self, raw: io.RawIOBase, new_decoder: Callable[[], Decoder], chunk: int = CHUNK) -> None:
        self._raw, self._new_decoder, self._chunk = raw, new_decoder, chunk
        self._decoder: Decoder | None = None
        self._taken = self._given = 0
        self.starts: list[tuple[int, int]] = []

    def _piece(self, size: int) -> bytes:
        piece = b""
        while not piece and (data := self._next()) is not None:
            assert self._decoder
            piece = self._decoder.decompress(data, MOST_AT_ONCE)
        self._given += len(piece)
        return piece

    def _next(self) -> bytes | None:
        """The next packed bytes for the decoder, a new one where a member starts; None at the end."""
        if self._decoder and not self._decoder.eof:
            data = self._take() if self._decoder.needs_input else b""
            if not data and self._decoder.needs_input:
                raise EOFError("the file ends in the middle of its compressed data")
            return data
        data = (self._decoder.unused_data if self._decoder else b"") or self._take()
        while self._decoder and data and not data.strip(b"\0"):
            data = self._take()  # padding, as gzip and xz allow
        if not data:
            return None
        data = data.lstrip(b"\0") if self._decoder else data
        self.starts.append((self._given, self._taken - len(data)))
        self._decoder = self._new_decoder()
        return data

    def _take(self) -> bytes:
        data = self._raw.read(self._chunk) or b""
        self._taken += len(data)
        return data

    def close(self) -> None:
        self._raw.close()
        super().close()


def damage_errors() -> tuple[type[Exception], ...]:
    """What reading a broken file raises: a truncated or corrupt compressed stream, a disk error."""
    import zstandard

    return (EOFError, OSError, lzma.LZMAError, zlib.error, zstandard.ZstdError)


LIMITS = {
    "too much memory": f"window of more than {WINDOW >> 20:,} MiB",
    "ictionary": "compressed with a dictionary",
}


def damage(source: str, offset: int, error: Exception) -> Failure:
    """The failure of a file that cannot be read on: damaged, or beyond what is read here."""
    detail = f"{type(error).__name__}: {error}"
    reason = next((reason for words, reason in LIMITS.items() if words in detail), "damaged file")
    return Failure(source, offset, reason, detail)
