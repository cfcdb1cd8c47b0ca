"""Crawl files: the pictures of their answers, with the alternative texts that pages of the same file give
them.

A file is read twice: its pages for the texts by the address of the picture, then its pictures. A picture
that no page of the file describes has no caption.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from html import unescape
from urllib.parse import urldefrag, urljoin

from data_prep.documents import Failure, Page, Passed
from data_prep.extract.sniff import decode_page
from data_prep.images.config import ImagesConfig
from data_prep.images.sources.items import Found, Input, Item
from data_prep.sources.http import BodyError, decode_body
from data_prep.sources.records import HEADER_BYTES, Cursor, Gap, Record, http_answer, records
from data_prep.sources.streams import damage, open_raw
from data_prep.sources.warc import DECOMPRESSED, KINDS, address, html_page

WANTED = ("response", "resource")
PAGE_BYTES = 10_000_000
_PICTURE = re.compile(r"<img\b([^<>]{1,8192})>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"([a-zA-Z-]{1,40})\s{0,9}=\s{0,9}(\"[^\"]*\"|'[^']*'|[^\s\"']+)")
MOST_TEXTS = 8
"""Alternative texts of one picture that are kept."""


def read(one: Input, config: ImagesConfig) -> Iterator[Item]:
    """Every picture of a file; damage is named, and what was read before it counts."""
    texts = alternative_texts(one)
    last = 0
    limit = config.pixels.most_bytes + HEADER_BYTES
    with open_raw(one.file.path) as raw:
        cursor = Cursor(raw)
        starts = [] if one.file.path.endswith(DECOMPRESSED) else getattr(raw, "starts", [])
        for record in records(cursor, starts, WANTED, limit):
            last = record.offset
            if isinstance(record, Gap):
                yield Failure(one.file.name, record.offset, record.reason, f"{record.size} bytes")
            elif record.cut:
                yield Failure(one.file.name, record.offset, "record cut off", url=address(record))
            elif record.kind not in WANTED:
                yield Passed(f"record of type {record.kind if record.kind in KINDS else 'unknown'}")
            else:
                yield picture(record, one.file.name, texts, config)
    if cursor.problem:
        yield damage(one.file.name, last, cursor.problem)


def picture(record: Record, source: str, texts: dict[str, list[str]], config: ImagesConfig) -> Item:
    """The picture in a record, or why it holds none."""
    url, kind, content = address(record), record.headers.get("content-type", ""), record.content
    encodings = ("", "")
    if content.startswith(b"HTTP/") and (record.kind == "response" or kind.startswith("application/http")):
        status, headers, start = http_answer(content)
        if status not in (200, None):
            return Passed("record with another status than 200")
        kind, content = headers.get("content-type", ""), content[start:]
        encodings = (headers.get("transfer-encoding", ""), headers.get("content-encoding", ""))
    if not kind.lower().startswith("image/"):
        return Passed("record that is no picture")
    if kind.lower().startswith("image/svg"):
        return Passed("drawing in SVG")
    try:
        data = decode_body(content, *encodings, config.pixels.most_bytes)
    except BodyError as error:
        return Failure(source, record.offset, str(error), url=url)
    return Found(source, record.offset, data, tuple(texts.get(urldefrag(url)[0], ())), "", url)


def alternative_texts(one: Input) -> dict[str, list[str]]:
    """The alternative texts of pictures by their addresses, as the pages of a file have them."""
    found: dict[str, list[str]] = defaultdict(list)
    with open_raw(one.file.path) as raw:
        starts = getattr(raw, "starts", [])
        for record in records(Cursor(raw), starts, WANTED, PAGE_BYTES + HEADER_BYTES):
            page = None
            if isinstance(record, Record) and not record.cut and record.kind in WANTED:
                page = html_page(record, one.file.name, PAGE_BYTES)
            if isinstance(page, Page):
                for address_, text in _described(page):
                    known = found[address_]
                    if len(known) < MOST_TEXTS and text not in known:
                        known.append(text)
    return found


def _described(page: Page) -> Iterator[tuple[str, str]]:
    """The addresses and texts of the pictures of a page. By expressions and not a parser: the time that they
    take grows with the length of a page alone, whatever is in it."""
    assert isinstance(page.content, bytes)
    content = decode_page(page.content, page.charset)
    for tag in _PICTURE.finditer(content):
        told = {
            found[1].lower(): unescape(found[2].strip("\"'")).strip() for found in _ATTRIBUTE.finditer(tag[1])
        }
        source, text = told.get("src") or told.get("data-src", ""), told.get("alt", "")
        if source and text and not source.startswith("data:"):
            with suppress(ValueError):  # an address that is none
                yield urldefrag(urljoin(page.url, source))[0], text
