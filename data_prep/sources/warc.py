"""Crawl files: the HTML pages in WARC files and the texts in WET files."""

from collections.abc import Callable, Iterator

from data_prep.documents import Failure, Item, Page, Passed
from data_prep.extract.sniff import charset_of
from data_prep.sources.files import InputFile
from data_prep.sources.http import BodyError, decode_body
from data_prep.sources.records import HEADER_BYTES, Cursor, Gap, Record, http_answer, records
from data_prep.sources.streams import damage, open_raw

ReadRecord = Callable[[Record, str, int], Item]
HTML_TYPES = ("text/html", "application/xhtml+xml")
KINDS = ("warcinfo", "request", "metadata", "revisit", "continuation", "conversion", "response", "resource")
DECOMPRESSED = (".xz", ".bz2")
"""Files that are not made of a member for each record: offsets are those in their decompressed bytes."""


def read(file: InputFile, page_bytes: int) -> Iterator[Item]:
    """The HTML responses of a WARC file. What was read before damage counts, and the damage is named."""
    return _read(file, page_bytes, ("response", "resource"), html_page)


def read_wet(file: InputFile, page_bytes: int) -> Iterator[Item]:
    """The texts in a WET file, which Common Crawl extracted."""
    return _read(file, page_bytes, ("conversion",), text_page)


def _read(file: InputFile, page_bytes: int, wanted: tuple[str, ...], page: ReadRecord) -> Iterator[Item]:
    last = 0
    with open_raw(file.path) as raw:
        cursor = Cursor(raw)
        starts = [] if file.path.endswith(DECOMPRESSED) else getattr(raw, "starts", [])
        for found in records(cursor, starts, wanted, page_bytes + HEADER_BYTES):
            last = found.offset
            if isinstance(found, Gap):
                yield Failure(file.name, found.offset, found.reason, f"{found.size} bytes")
            elif found.cut:
                detail = f"{len(found.content)} of {found.length} bytes"
                yield Failure(file.name, found.offset, "record cut off", detail, address(found))
            elif found.kind not in wanted:
                kind = found.kind if found.kind in KINDS else "unknown"
                yield Passed(f"record of type {kind}")
            else:
                yield page(found, file.name, page_bytes)
    if cursor.problem:
        yield damage(file.name, last, cursor.problem)


def address(record: Record) -> str:
    """The record's URL; the grammar of WARC 1.0 puts it between angle brackets, as wget does."""
    return record.headers.get("warc-target-uri", "").removeprefix("<").removesuffix(">").strip()


def text_page(record: Record, source: str, page_bytes: int) -> Item:
    """The text in a conversion record."""
    url = address(record)
    if record.length > page_bytes:
        return Failure(source, record.offset, "page too large", f"{record.length} bytes", url)
    return Page(source, record.offset, record.content.decode("utf-8", "replace"), url)


def html_page(record: Record, source: str, page_bytes: int) -> Item:
    """The HTML page in a record, or why it holds none that was found."""
    url, kind, content = address(record), record.headers.get("content-type", ""), record.content
    status: int | None = None
    encodings = ("", "")
    if content.startswith(b"HTTP/") and (record.kind == "response" or kind.startswith("application/http")):
        status, headers, start = http_answer(content)
        kind, content = headers.get("content-type") or kind, content[start:]
        encodings = (headers.get("transfer-encoding", ""), headers.get("content-encoding", ""))
    if not kind.lower().startswith(HTML_TYPES):
        return Passed("record that is no HTML")
    if status not in (200, None):
        return Passed("record with another status than 200")
    expected = record.length - len(record.content) + len(content)
    if expected > page_bytes:
        return Failure(source, record.offset, "page too large", f"{expected} bytes", url)
    try:
        page = decode_body(content, *encodings, page_bytes)
    except BodyError as error:
        return Failure(source, record.offset, str(error), url=url)
    return Page(source, record.offset, page, url, charset_of(kind))
