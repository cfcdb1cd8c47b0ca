"""JSON lines: an object a line with the text under a key that the recipe names."""

from collections.abc import Iterator
from typing import Any

from data_prep.contract.reading import LINE_BYTES, read_jsonl
from data_prep.contract.settings import InputError
from data_prep.documents import Failure, Item, Page
from data_prep.sources.encoded import NoTextError, utf8_stream
from data_prep.sources.files import InputFile
from data_prep.sources.streams import damage, damage_errors, open_stream


def read(file: InputFile, text_field: str) -> Iterator[Item]:
    """A document per line; lines that are not such objects are counted and passed over."""
    number = 0
    wrong: list[Failure] = []
    end: Failure | None = None

    def skip(line: int, error: InputError) -> None:
        wrong.append(Failure(file.name, line, "line is not JSON", str(error).removeprefix("line: ")[:200]))

    try:
        with open_stream(file.path) as stream:
            lines = utf8_stream(stream, "utf-8")
            for number, row in read_jsonl(lines, "line", strict=False, skip=skip, line_bytes=LINE_BYTES):
                yield from wrong
                wrong.clear()
                yield document(row, file.name, number, text_field)
    except NoTextError as error:
        end = Failure(file.name, 0, str(error))
    except damage_errors() as error:
        end = damage(file.name, number, error)
    yield from wrong
    if end:
        yield end


def document(row: Any, source: str, number: int, text_field: str) -> Page | Failure:
    """The document in one line, or why there is none."""
    if not isinstance(row, dict) or not isinstance(row.get(text_field), str):
        return Failure(source, number, f"line has no text under {text_field!r}")
    url = row.get("url")
    return Page(source, number, row[text_field], url=url if isinstance(url, str) else "")
