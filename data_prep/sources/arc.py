"""Legacy ARC files, the Internet Archive's format before WARC, read with warcio."""

from collections.abc import Iterator

from data_prep.documents import Failure, Page
from data_prep.sources.files import InputFile, damage_errors, open_stream
from data_prep.sources.http import BodyError, decode_body
from data_prep.sources.warc import HTML_TYPES


def read(file: InputFile, page_bytes: int) -> Iterator[Page | Failure]:
    """The HTML pages of a file. What was read before damage counts, and the damage is named."""
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    number = 0
    try:
        with open_stream(file.path) as stream:
            for number, record in enumerate(ArchiveIterator(stream)):
                headers = record.http_headers
                if record.rec_type != "response" or headers is None or headers.get_statuscode() != "200":
                    continue
                if not (headers.get_header("Content-Type") or "").lower().startswith(HTML_TYPES):
                    continue
                url = record.rec_headers.get_header("uri") or ""
                body = record.raw_stream.read(page_bytes + 1)
                encodings = [
                    headers.get_header(name) or "" for name in ("Transfer-Encoding", "Content-Encoding")
                ]
                try:
                    yield Page(
                        file.name, number, decode_body(body, encodings[0], encodings[1], page_bytes), url
                    )
                except BodyError as error:
                    yield Failure(file.name, number, str(error), url=url)
    except (*damage_errors(), ArchiveLoadFailed) as error:
        yield Failure(file.name, number, "damaged file", f"{type(error).__name__}: {error}")
