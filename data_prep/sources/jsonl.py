"""JSON lines: an object a line with the text under a key that the recipe names."""

import json
from collections.abc import Iterator

from data_prep.documents import Failure, Page
from data_prep.sources.files import InputFile, damage_errors, open_stream

LINE_BYTES = 100_000_000


def read(file: InputFile, text_field: str) -> Iterator[Page | Failure]:
    """A document per line; lines that are not such objects are counted and passed over."""
    number = 0
    try:
        with open_stream(file.path) as stream:
            while line := stream.readline(LINE_BYTES):
                number += 1
                if line.strip():
                    yield parse(line, file.name, number, text_field)
    except damage_errors() as error:
        yield Failure(file.name, number, "damaged file", f"{type(error).__name__}: {error}")


def parse(line: bytes, source: str, number: int, text_field: str) -> Page | Failure:
    """The document in one line, or why there is none."""
    try:
        row = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        return Failure(source, number, "line is not JSON", str(error)[:200])
    if not isinstance(row, dict) or not isinstance(row.get(text_field), str):
        return Failure(source, number, f"line has no text under {text_field!r}")
    url = row.get("url")
    return Page(source, number, row[text_field], url=url if isinstance(url, str) else "")
