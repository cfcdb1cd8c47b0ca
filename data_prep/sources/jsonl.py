"""JSON lines: an object a line with the text under a key that the recipe names."""

import io
from collections.abc import Iterator
from typing import Any

from data_prep.contract.raw import RawPieces
from data_prep.contract.reading import LINE_BYTES, read_jsonl
from data_prep.contract.settings import InputError
from data_prep.documents import Failure, Item, Page
from data_prep.sources.encoded import NoTextError, utf8_stream
from data_prep.sources.files import InputFile
from data_prep.sources.streams import CHUNK, damage, damage_errors, open_stream


def read(file: InputFile, text_field: str) -> Iterator[Item]:
    """A document per line; lines that are not such objects are counted and passed over."""
    number = 0
    wrong: list[Failure] = []
    end: Failure | None = None

    def skip(line: int, error: InputError) -> None:
        wrong.append(Failure(file.name, line, "line is not JSON", str(error).removeprefix("line: ")[:200]))

    try:
        with open_stream(file.path) as stream:
            lines = with_line_feeds(utf8_stream(stream, "utf-8"))
            given = read_jsonl(lines, "line", strict=False, skip=skip, line_bytes=LINE_BYTES, once=text_field)
            for number, row in given:
                yield from wrong
                wrong.clear()
                yield document(row, file.name, number, text_field)
    except NoTextError as error:
        end = Failure(file.name, 0, str(error))
    except damage_errors() as error:
        end = damage(file.name, number, error)
    yield from wrong
    if end:
        yield end


def with_line_feeds(stream: io.BufferedReader) -> io.BufferedReader:
    """The stream itself, or with a line feed for each carriage return where its lines end in these alone.

    In JSON neither stands inside a string.
    """
    start = stream.peek(CHUNK)
    return io.BufferedReader(_LineFeeds(stream), CHUNK) if b"\r" in start and b"\n" not in start else stream


class _LineFeeds(RawPieces):
    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream

    def _piece(self, size: int) -> bytes:
        return self._stream.read1(size).replace(b"\r", b"\n")


def document(row: Any, source: str, number: int, text_field: str) -> Page | Failure:
    """The document in one line, or why there is none."""
    if not isinstance(row, dict) or not isinstance(row.get(text_field), str):
        return Failure(source, number, f"line has no text under {text_field!r}")
    url = row.get("url")
    return Page(source, number, row[text_field], url=url if isinstance(url, str) else "")
