"""Parquet files with a column of texts."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.documents import Failure, Item, Page
from data_prep.sources.files import InputFile
from data_prep.sources.streams import count_read


def read(file: InputFile, text_field: str) -> Iterator[Item]:
    """A document a row; `url` is taken where there is such a column."""
    number = 0
    try:
        table = pq.ParquetFile(file.path)
        names = table.schema_arrow.names
        if names.count(text_field) != 1:
            reason = f"several columns {text_field!r}" if text_field in names else f"no column {text_field!r}"
            yield Failure(file.name, 0, reason, ", ".join(names)[:200])
            return
        has_url = names.count("url") == 1
        columns = [text_field] + ["url"] * has_url
        for batch in table.iter_batches(256, columns=columns):
            texts = strings(batch.column(text_field))
            urls = strings(batch.column("url")) if has_url else [None] * len(texts)
            for text, url in zip(texts, urls, strict=True):
                if isinstance(text, str):
                    yield Page(file.name, number, text, url=url if isinstance(url, str) else "")
                else:
                    yield Failure(file.name, number, f"row has no text under {text_field!r}")
                number += 1
        if number == table.metadata.num_rows:
            count_read(file.size)
        else:
            yield Failure(file.name, number, "damaged file", f"{number} of {table.metadata.num_rows} rows")
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        yield Failure(file.name, number, "damaged file", f"{type(error).__name__}: {error}")


def strings(column: Any) -> list[Any]:
    """The values of a column; texts come as strings whether they are typed so or as bytes.

    Parquet does not check that a string is UTF-8: bytes that are not become U+FFFD, and cost no other row.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return strings(column.dictionary_decode())
    for is_kind in (pa.types.is_string, pa.types.is_large_string):
        if is_kind(kind):
            column = column.cast(pa.large_binary() if kind == pa.large_string() else pa.binary())
    values: list[Any] = column.to_pylist()
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
