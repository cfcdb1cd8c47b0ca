"""HTML pages, a file each."""

from collections.abc import Iterator

from data_prep.documents import Failure, Item, Page
from data_prep.sources.files import InputFile
from data_prep.sources.streams import damage, damage_errors, open_stream


def read(file: InputFile, page_bytes: int) -> Iterator[Item]:
    """The page in a file, whose name stands for its URL."""
    try:
        with open_stream(file.path) as stream:
            content = stream.read(page_bytes + 1)
    except damage_errors() as error:
        yield damage(file.name, 0, error)
        return
    if len(content) > page_bytes:
        yield Failure(file.name, 0, "page too large", f"more than {page_bytes} bytes")
    else:
        yield Page(file.name, 0, content)
