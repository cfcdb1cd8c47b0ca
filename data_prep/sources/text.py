"""Plain text files: a document each, or several where a file is long."""

import codecs
from collections.abc import Iterator

from data_prep.documents import Failure, Item, Page
from data_prep.sources.encoded import NoTextError, utf8_stream
from data_prep.sources.files import InputFile
from data_prep.sources.streams import CHUNK, damage, damage_errors, open_stream


def read(file: InputFile, document_bytes: int) -> Iterator[Item]:
    """Documents of at most about `document_bytes`, cut at a blank line where there is one."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    waiting, offset = "", 0
    end: Failure | None = None
    try:
        with open_stream(file.path) as stream:
            text = utf8_stream(stream)
            while chunk := text.read1(CHUNK):
                waiting += decoder.decode(chunk)
                while len(waiting) > document_bytes:
                    piece, waiting = cut(waiting, document_bytes)
                    yield Page(file.name, offset, piece)
                    offset += len(piece)
    except NoTextError as error:
        yield Failure(file.name, 0, str(error))
        return
    except damage_errors() as error:
        end = damage(file.name, offset, error)
    yield Page(file.name, offset, waiting + decoder.decode(b"", True))
    if end:
        yield end


def cut(text: str, limit: int) -> tuple[str, str]:
    """The text in two, the first at most `limit` long and at least half of it: after a blank line, else after
    a line, else after a space, else anywhere."""
    for mark in ("\n\n", "\r\n\r\n", "\n", " "):
        end = text.rfind(mark, limit // 2, limit)
        if end >= 0:
            return text[: end + len(mark)], text[end + len(mark) :]
    return text[:limit], text[limit:]
