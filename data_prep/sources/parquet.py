"""Parquet files with a column of texts."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.documents import Failure, Page
from data_prep.sources.files import InputFile


def read(file: InputFile, text_field: str) -> Iterator[Page | Failure]:
    """A document a row; `url` is taken where there is such a column."""
    number = 0
    try:
        table = pq.ParquetFile(file.path)
        names = table.schema_arrow.names
        if text_field not in names:
            yield Failure(file.name, 0, f"no column {text_field!r}", ", ".join(names)[:200])
            return
        columns = [text_field] + ["url"] * ("url" in names)
        for batch in table.iter_batches(256, columns=columns):
            for row in batch.to_pylist():
                text, url = row[text_field], row.get("url")
                if isinstance(text, str):
                    yield Page(file.name, number, text, url=url if isinstance(url, str) else "")
                else:
                    yield Failure(file.name, number, f"row has no text under {text_field!r}")
                number += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield Failure(file.name, number, "damaged file", f"{type(error).__name__}: {error}")
