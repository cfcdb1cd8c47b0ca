"""Crawl files: the HTML pages in WARC files and the texts in WET files, read with fastwarc."""

import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data_prep.documents import Failure, Page
from data_prep.sources.files import InputFile, damage_errors, open_stream
from data_prep.sources.http import BodyError, decode_body

ReadRecord = Callable[[Any, str, int], Page | Failure | None]
ENCODING_HEADERS = ("Transfer-Encoding", "Content-Encoding")
HTML_TYPES = ("text/html", "application/xhtml+xml")


def read(file: InputFile, page_bytes: int) -> Iterator[Page | Failure]:
    """The HTML responses of a WARC file. What was read before damage counts, and the damage is named."""
    from fastwarc.warc import WarcRecordType

    return _read(file, page_bytes, WarcRecordType.response | WarcRecordType.resource, html_page)


def read_wet(file: InputFile, page_bytes: int) -> Iterator[Page | Failure]:
    """The texts in a WET file, which Common Crawl extracted."""
    from fastwarc.warc import WarcRecordType

    return _read(file, page_bytes, WarcRecordType.conversion, text_page)


def _read(file: InputFile, page_bytes: int, wanted: Any, page: ReadRecord) -> Iterator[Page | Failure]:
    from fastwarc.warc import ArchiveIterator

    last, problem = 0, ""
    try:
        with open_archive(file.path) as stream:
            for record in ArchiveIterator(stream, record_types=wanted, parse_http=True):
                last = record.stream_pos
                found = page(record, file.name, page_bytes)
                if found:
                    yield found
    except damage_errors() as error:
        problem = f"{type(error).__name__}: {error}"
    if not problem and file.path.endswith(".gz"):
        problem = tail_problem(file.path, last)
    if problem:
        yield Failure(file.name, last, "damaged file", problem)


def open_archive(path: str) -> Any:
    """fastwarc decompresses gz, lz4 and zst itself; it is handed the rest decompressed."""
    return open_stream(path) if path.endswith((".xz", ".bz2")) else Path(path).open("rb")


def text_page(record: Any, source: str, page_bytes: int) -> Page | Failure | None:
    """The text in a conversion record."""
    url = record.headers.get("WARC-Target-URI") or ""
    text = record.reader.read(page_bytes + 1)
    if len(text) > page_bytes:
        return Failure(source, record.stream_pos, "page too large", f"{record.content_length} bytes", url)
    return Page(source, record.stream_pos, text.decode("utf-8", "replace"), url)


def html_page(record: Any, source: str, page_bytes: int) -> Page | Failure | None:
    """The HTML page in a record; None where the record holds something else than a page that was found."""
    offset = record.stream_pos
    url = record.headers.get("WARC-Target-URI") or ""
    headers = record.http_headers
    kind = (record.http_content_type or record.headers.get("Content-Type") or "").lower()
    if not kind.startswith(HTML_TYPES) or (headers and headers.status_code not in (200, None)):
        return None
    expected = record.content_length
    body = record.reader.read(min(expected, page_bytes + 1))
    if len(body) < min(expected, page_bytes + 1):
        return Failure(source, offset, "record cut off", f"{len(body)} of {expected} bytes", url)
    if len(body) > page_bytes:
        return Failure(source, offset, "page too large", f"{expected} bytes", url)
    encodings = [(headers.get(name) or "") if headers else "" for name in ENCODING_HEADERS]
    try:
        content = decode_body(body, encodings[0], encodings[1], page_bytes)
    except BodyError as error:
        return Failure(source, offset, str(error), url=url)
    return Page(source, offset, content, url, record.http_charset or "")


def tail_problem(path: str, last: int) -> str:
    """What is wrong behind the last record that starts at byte `last` of a gzip file; empty where nothing is.

    fastwarc ends without a word where a file is cut off or goes on with something that is no gzip.
    """
    inside = False
    decoder = zlib.decompressobj(wbits=31)
    with Path(path).open("rb") as file:
        file.seek(last)
        while chunk := file.read(io.DEFAULT_BUFFER_SIZE):
            while chunk:
                try:
                    decoder.decompress(chunk)
                except zlib.error as error:
                    return f"no readable gzip behind byte {last} ({error})"
                inside, chunk = not decoder.eof, decoder.unused_data
                if not inside:
                    decoder = zlib.decompressobj(wbits=31)
    return "the file is cut off" if inside else ""
