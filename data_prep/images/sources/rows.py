"""Parquet with pictures as bytes: a column of them, or of structs with `bytes`, as Hugging Face datasets
have it."""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.contract.questions import questions_in
from data_prep.documents import Failure
from data_prep.images.config import ImagesConfig
from data_prep.images.sources.items import Found, Input, Item, captions_in, label_in
from data_prep.sources.streams import count_read

TOGETHER = 64


def read(one: Input, config: ImagesConfig) -> Iterator[Item]:
    """A picture a row, with its caption, class and `url` where there are such columns."""
    file, number = one.file, 0
    try:
        table = pq.ParquetFile(file.path)
        schema = table.schema_arrow
        if config.image_field not in schema.names:
            yield Failure(file.name, 0, f"no column {config.image_field!r}", ", ".join(schema.names)[:200])
            return
        names = config.class_names or class_names(schema, config.label_field)
        wanted = [config.image_field, config.caption_field, config.label_field, config.question_field, "url"]
        columns = [name for name in dict.fromkeys(wanted) if name in schema.names]
        for batch in table.iter_batches(TOGETHER, columns=columns):
            for row in batch.to_pylist():
                yield found(row, file.name, number, config, names)
                number += 1
        if number == table.metadata.num_rows:
            count_read(file.size)
        else:
            yield Failure(file.name, number, "damaged file", f"{number} of {table.metadata.num_rows} rows")
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        yield Failure(file.name, number, "damaged file", f"{type(error).__name__}: {error}")


def found(row: dict[str, Any], source: str, number: int, config: ImagesConfig, names: list[str]) -> Item:
    """The picture of a row, or why it has none."""
    value, url = row.get(config.image_field), row.get("url")
    url = url if isinstance(url, str) else ""
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes) or not data:
        return Failure(source, number, f"row has no bytes under {config.image_field!r}", url=url)
    captions = captions_in(row.get(config.caption_field))
    label, asked = label_in(row.get(config.label_field), names), questions_in(row.get(config.question_field))
    return Found(source, number, data, captions, label, url, asked)


def class_names(schema: pa.Schema, field: str) -> list[str]:
    """The names of the classes that Hugging Face's metadata has; none where it has none."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = told["info"]["features"][field]["names"]
    except (ValueError, KeyError, TypeError):
        return []
    return names if isinstance(names, list) and all(isinstance(one, str) for one in names) else []
