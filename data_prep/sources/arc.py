"""Legacy ARC files, the Internet Archive's format before WARC.

A record is a line (URL, IP address, date, media type, ..., length), that many bytes, and a line's end. What
stands where a line of that form should is passed over up to the next one and told.
Source: archive.org/web/researcher/ArcFileFormat.php, versions 1 and 2.
"""

from collections.abc import Iterator

from data_prep.documents import Failure, Item, Passed
from data_prep.sources.files import InputFile
from data_prep.sources.records import HEADER_BYTES, Cursor, Record, after_blank_lines
from data_prep.sources.streams import CHUNK, damage, open_raw
from data_prep.sources.warc import html_page


def read(file: InputFile, page_bytes: int) -> Iterator[Item]:
    """The HTML pages of a file. What was read before damage counts, and the damage is named."""
    number = 0
    with open_raw(file.path) as raw:
        cursor = Cursor(raw)
        line = after_blank_lines(cursor)
        while line:
            found = header(line)
            if not found:
                size = 0
                while line and not found:
                    size += len(line)
                    line = cursor.line(CHUNK)
                    found = header(line)
                yield Failure(file.name, number, "no ARC record", f"{size} bytes")
                continue
            url, length = found
            content = cursor.read(min(length, page_bytes + HEADER_BYTES))
            left = length - len(content)
            if cursor.skip(left) < left:
                yield Failure(file.name, number, "record cut off", f"{len(content)} of {length} bytes", url)
            else:
                yield _page(content, length, file.name, number, url, page_bytes)
            number += 1
            line = after_blank_lines(cursor)
    if cursor.problem:
        yield damage(file.name, number, cursor.problem)


def header(line: bytes) -> tuple[str, int] | None:
    """The URL and the length in the first line of a record; None where it is none."""
    words = line.split(maxsplit=99)
    dates = [n for n, word in enumerate(words[:-1]) if n > 1 and word.isdigit() and 8 <= len(word) <= 17]
    if not dates or not line.endswith(b"\n") or not words[-1].isdigit() or len(words[-1]) > 18:
        return None
    return b" ".join(words[: dates[0] - 1]).decode("utf-8", "replace"), int(words[-1])


def _page(content: bytes, length: int, source: str, number: int, url: str, page_bytes: int) -> Item:
    """The page in a record's content, or why there is none: that of a response in a WARC file."""
    if not content.startswith(b"HTTP/"):
        return Passed("record without an HTTP answer")
    record = Record("response", {"warc-target-uri": url}, number, length, content, cut=False)
    return html_page(record, source, page_bytes)
