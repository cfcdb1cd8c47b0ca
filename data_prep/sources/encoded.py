"""Files of text as UTF-8, whatever they are written in: what a mark at their start says, else a guess.

The guess is made by the first mebibyte; a file that looks like UTF-8 but for some bytes is UTF-8, and these
bytes come out as they are, for the reader to replace.
"""

import codecs
import io
from typing import Any

from data_prep.contract.utf8 import as_utf8, mark_of
from data_prep.extract.encodings import decode
from data_prep.extract.sniff import ESCAPES, SAMPLE, detected, doubtful
from data_prep.sources.streams import CHUNK, damage_errors

ZEROS = 1024
"""Bytes at the start in which a zero byte says that this is no text."""
MARKS = {"utf-16le": codecs.BOM_UTF16_LE, "utf-16be": codecs.BOM_UTF16_BE}


class NoTextError(ValueError):
    """A file that holds no text; the message is a few words to count by."""


def utf8_stream(stream: io.BufferedReader, said: str = "") -> io.BufferedReader:
    """The bytes of a stream in UTF-8, without a mark. Raises `NoTextError` where it holds no text.

    `said` is the encoding that its format asks for: a few bytes that do not fit are no reason to doubt it.
    """
    again = _Again(stream)
    sample = again.sample
    if mark_of(sample)[0]:
        return as_utf8(_buffered(again))
    plain = b"\0" not in sample[:ZEROS] and ESCAPES not in sample
    sure = said and plain and not doubtful(decode(sample, said))
    name = said if sure else detected(sample)
    if name in MARKS:
        again.sample = MARKS[name] + sample
        return as_utf8(_buffered(again))
    if b"\0" in sample[:ZEROS]:
        raise NoTextError("binary content")
    return _buffered(again if name == "utf-8" else _Transcoded(_buffered(again), name))


def _buffered(raw: io.RawIOBase) -> io.BufferedReader:
    return io.BufferedReader(raw, CHUNK)


class _Again(io.RawIOBase):
    """A stream from its start, whose first bytes have been looked at. Its trouble comes in its place."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream, self.sample = stream, b""
        self._problem: Exception | None = None
        try:
            while len(self.sample) < SAMPLE and (piece := stream.read1(CHUNK)):
                self.sample += piece
        except damage_errors() as error:
            self._problem = error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.sample:
            if self._problem:
                raise self._problem
            self.sample = self._stream.read1(len(buffer))
        count = min(len(buffer), len(self.sample))
        buffer[:count], self.sample = self.sample[:count], self.sample[count:]
        return count


class _Transcoded(io.RawIOBase):
    """Lines in some encoding as UTF-8: in none of them is a line break a part of a character."""

    def __init__(self, stream: io.BufferedReader, name: str) -> None:
        self._stream, self._name = stream, name
        self._waiting, self._ready = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            piece = self._stream.read1(CHUNK)
            data = self._waiting + piece
            end = data.rfind(b"\n") + 1 if piece and len(data) < SAMPLE else len(data)
            if not data:
                return 0
            self._waiting = data[end:]
            self._ready = memoryview(decode(data[:end], self._name).encode())
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count
