"""Files of text as UTF-8, whatever they are written in: what a mark at their start says, else a guess.

The guess is made by the first mebibyte; a file that looks like UTF-8 but for some bytes is UTF-8, and these
bytes come out as they are, for the reader to replace.
"""

import io

from data_prep.contract.raw import RawPieces
from data_prep.contract.utf8 import as_utf8, mark_of
from data_prep.extract.encodings import decode
from data_prep.extract.sniff import ESCAPES, SAMPLE, detected, doubtful
from data_prep.sources.streams import CHUNK, damage_errors

ZEROS = 1024
"""Bytes at the start in which a zero byte between others says that this is no text. Those at the ends of a
file are what a power cut or a copy that ended early leaves."""


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
    if name.startswith("utf-16"):
        return as_utf8(_buffered(again), name)
    if b"\0" in sample[:ZEROS].strip(b"\0"):
        raise NoTextError("binary content")
    return _buffered(again if name == "utf-8" else _Transcoded(_buffered(again), name))


def _buffered(raw: io.RawIOBase) -> io.BufferedReader:
    return io.BufferedReader(raw, CHUNK)


class _Again(RawPieces):
    """A stream from its start, whose first bytes have been looked at. Its trouble comes in its place."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream, self.sample = stream, b""
        self._problem: Exception | None = None
        try:
            while len(self.sample) < SAMPLE and (piece := stream.read1(CHUNK)):
                self.sample += piece
        except damage_errors() as error:
            self._problem = error
        self._ready = memoryview(self.sample)

    def _piece(self, size: int) -> bytes:
        if self._problem:
            raise self._problem
        return self._stream.read1(size)


class _Transcoded(RawPieces):
    """Lines in some encoding as UTF-8: in none of them is a line break a part of a character."""

    def __init__(self, stream: io.BufferedReader, name: str) -> None:
        self._stream, self._name = stream, name
        self._waiting = b""

    def _piece(self, size: int) -> bytes:
        text = ""
        while not text:
            piece = self._stream.read1(CHUNK)
            data = self._waiting + piece
            if not data:
                break
            end = data.rfind(b"\n") + 1 if piece and len(data) < SAMPLE else len(data)
            text, self._waiting = decode(data[:end], self._name), data[end:]
        return text.encode()
