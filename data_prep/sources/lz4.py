"""Frames of an lz4 file, each decompressed by fastwarc's reader, which by itself says nothing of what is cut
off, of what follows that is no frame, and of where frames start.

The format: github.com/lz4/lz4, doc/lz4_Frame_format.md.
"""

import io
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, cast

from data_prep.contract.raw import RawPieces

FRAME = b"\x04\x22\x4d\x18"
SKIPPABLE = b"\x2a\x4d\x18"
"""Behind a byte from 0x50 to 0x5F."""
BLOCK_CHECKSUM, CONTENT_SIZE, CONTENT_CHECKSUM, DICTIONARY = 0x10, 0x08, 0x04, 0x01
PLAIN = 1 << 31
"""Bit of a block's size: it is not compressed."""


class Lz4Members(RawPieces):
    """The decompressed bytes of an lz4 file; `starts` as `streams.Members` has them."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._file: IO[bytes] = io.BufferedReader(raw)
        self._reader: Any = None
        self._given = 0
        self.starts: list[tuple[int, int]] = []

    def _piece(self, size: int) -> bytes:
        from fastwarc.stream_io import Lz4Reader

        while True:
            if self._reader is None:
                start, magic = self._magic()
                if not magic:
                    return b""
                self._frame = _Pieces(_frame(self._file, magic))
                self.starts.append((self._given, start))
                self._reader = Lz4Reader(cast(BinaryIO, self._frame))
            data = bytes(self._reader.read(size))
            if data:
                self._given += len(data)
                return data
            for _ in self._frame.pieces:  # what the reader left, such as a checksum
                pass
            self._reader = None

    def _magic(self) -> tuple[int, bytes]:
        """Where the next frame starts, and its first bytes; none at the end."""
        while True:
            start, magic = self._file.tell(), self._file.read(4)
            if magic in (b"", FRAME):
                return start, magic
            if magic[1:] != SKIPPABLE or magic[0] >> 4 != 5:
                raise OSError(f"no lz4 frame at byte {start}")
            _exactly(self._file, int.from_bytes(_exactly(self._file, 4), "little"))

    def close(self) -> None:
        self._file.close()
        super().close()


def _frame(file: IO[bytes], magic: bytes) -> Iterator[bytes]:
    """The bytes of one frame, block by block. Raises `EOFError` where it is cut off."""
    flags = _exactly(file, 2)
    size = 8 * bool(flags[0] & CONTENT_SIZE) + 4 * bool(flags[0] & DICTIONARY) + 1
    yield magic + flags + _exactly(file, size)
    while word := int.from_bytes(head := _exactly(file, 4), "little"):
        yield head + _exactly(file, (word & ~PLAIN) + 4 * bool(flags[0] & BLOCK_CHECKSUM))
    yield head + _exactly(file, 4 * bool(flags[0] & CONTENT_CHECKSUM))


def _exactly(file: IO[bytes], size: int) -> bytes:
    found = file.read(size)
    if len(found) < size:
        raise EOFError("the file ends in the middle of an lz4 frame")
    return found


class _Pieces(RawPieces):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces, self._given = pieces, 0

    def _piece(self, size: int) -> bytes:
        return next(self.pieces, b"")

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self._given += count
        return count

    def tell(self) -> int:
        return self._given
