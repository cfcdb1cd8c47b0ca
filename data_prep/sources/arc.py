"""Legacy ARC files, the Internet Archive's format before WARC, read with warcio."""

from collections.abc import Iterator
from typing import Any

from data_prep.documents import Failure, Item, Page, Passed
from data_prep.extract.sniff import charset_of
from data_prep.sources.files import InputFile
from data_prep.sources.http import BodyError, decode_body
from data_prep.sources.streams import damage, damage_errors, open_stream
from data_prep.sources.warc import HTML_TYPES


def read(file: InputFile, page_bytes: int) -> Iterator[Item]:
    """The HTML pages of a file. What was read before damage counts, and the damage is named."""
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    number = 0
    try:
        with open_stream(file.path) as stream:
            for number, record in enumerate(ArchiveIterator(stream)):
                yield _page(record, file.name, number, page_bytes)
    except (*damage_errors(), ArchiveLoadFailed, ValueError) as error:
        yield damage(file.name, number, error)


def _page(record: Any, source: str, number: int, page_bytes: int) -> Item:
    headers = record.http_headers
    if record.rec_type != "response" or headers is None:
        return Passed("record without an HTTP answer")
    kind = headers.get_header("Content-Type") or ""
    if not kind.lower().startswith(HTML_TYPES):
        return Passed("record that is no HTML")
    if headers.get_statuscode() != "200":
        return Passed("record with another status than 200")
    url = record.rec_headers.get_header("uri") or ""
    body = record.raw_stream.read(page_bytes + 1)
    if len(body) <= page_bytes and getattr(record.raw_stream, "limit", 0) > 0:
        return Failure(source, number, "record cut off", f"{len(body)} bytes are there", url)
    encodings = [headers.get_header(name) or "" for name in ("Transfer-Encoding", "Content-Encoding")]
    try:
        page = decode_body(body, encodings[0], encodings[1], page_bytes)
    except BodyError as error:
        return Failure(source, number, str(error), url=url)
    return Page(source, number, page, url, charset_of(kind))
