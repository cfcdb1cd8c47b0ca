"""JSON lines: an object a line whose picture is a path below the file's folder, base64, or a data: address.

A picture that a line names counts as unchanged as long as the file of lines is.
"""

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.contract.names import plain_name
from data_prep.contract.questions import questions_in
from data_prep.contract.reading import LINE_BYTES, read_jsonl
from data_prep.contract.settings import InputError
from data_prep.documents import Failure
from data_prep.images.config import ImagesConfig
from data_prep.images.sources.items import Found, Input, Item, captions_in, label_in
from data_prep.sources.encoded import NoTextError, utf8_stream
from data_prep.sources.streams import damage, damage_errors, open_stream

LONGEST_PATH = 1_000


def read(one: Input, config: ImagesConfig) -> Iterator[Item]:
    """A picture a line; lines that are no such objects are counted and passed over."""
    name, number = one.file.name, 0
    wrong: list[Failure] = []
    end: Failure | None = None

    def skip(line: int, error: InputError) -> None:
        wrong.append(Failure(name, line, "line is not JSON", str(error).removeprefix("line: ")[:200]))

    try:
        with open_stream(one.file.path) as stream:
            text = utf8_stream(stream, "utf-8")
            for number, row in read_jsonl(text, "line", strict=False, skip=skip, line_bytes=LINE_BYTES):
                yield from wrong
                wrong.clear()
                yield found(row, name, number, Path(one.file.path).parent, config)
    except NoTextError as error:
        end = Failure(name, 0, str(error))
    except damage_errors() as error:
        end = damage(name, number, error)
    yield from wrong
    if end:
        yield end


def found(row: Any, source: str, number: int, folder: Path, config: ImagesConfig) -> Item:
    """The picture of a line, or why it has none."""
    value = row.get(config.image_field) if isinstance(row, dict) else None
    if not isinstance(value, str) or not value:
        return Failure(source, number, f"line has no picture under {config.image_field!r}")
    url = row.get("url") if isinstance(row.get("url"), str) else ""
    data = _content(value, folder, config.pixels.most_bytes)
    if isinstance(data, str):
        return Failure(source, number, data, value[:100], url)
    captions = captions_in(row.get(config.caption_field))
    label = label_in(row.get(config.label_field), config.class_names)
    asked = questions_in(row.get(config.question_field))
    return Found(source, number, data, captions, label, url, asked)


def _content(value: str, folder: Path, limit: int) -> bytes | str:
    """The bytes that a text stands for, or why there are none."""
    if not value.startswith("data:") and len(value) <= LONGEST_PATH:
        try:
            path = folder / plain_name(value, "")
            if path.is_file():
                with path.open("rb") as file:
                    return file.read(limit + 1)
        except (InputError, OSError):
            pass
    packed = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        return "neither a file below the folder nor base64"
