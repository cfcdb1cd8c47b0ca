"""HTML pages, a file each."""

from collections.abc import Iterator

from data_prep.documents import Failure, Page
from data_prep.sources.files import InputFile, damage_errors, open_stream


def read(file: InputFile, page_bytes: int) -> Iterator[Page | Failure]:
    """The page in a file, whose name stands for its URL."""
    try:
        with open_stream(file.path) as stream:
            content = stream.read(page_bytes + 1)
    except damage_errors() as error:
        yield Failure(file.name, 0, "damaged file", f"{type(error).__name__}: {error}")
        return
    if len(content) > page_bytes:
        yield Failure(file.name, 0, "page too large", f"more than {page_bytes} bytes")
    else:
        yield Page(file.name, 0, content)
