"""The first step: the files of a part become clean documents, and what gave none is kept with its reason.

<name>.documents.parquet    DOCUMENT_SCHEMA
<name>.failures.parquet     FAILURE_SCHEMA
<name>.pairs.parquet        (id, input, output) for instruction tuning, where the source makes them
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.config import CorpusConfig
from data_prep.documents import DOCUMENT_SCHEMA, FAILURE_SCHEMA, Failure, Page, hash64, normalise, table_of
from data_prep.extract.html import ExtractionError
from data_prep.extract.worker import Extractor
from data_prep.instructions import PAIR_SCHEMA
from data_prep.sources import read_file
from data_prep.sources.files import InputFile
from data_prep.sources.remote import here

VERSION = 2
FLUSH_BYTES = 16 << 20

EXTRACTOR = Extractor()
"""Shared by the parts that one process works on; it starts with the first HTML page."""


class TableFile:
    """A Parquet file that grows by row groups, under a temporary name until it is whole."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema = path, schema
        self.temporary = path.with_name(f".{path.name}.tmp")
        self.rows: list[dict[str, Any]] = []
        self.bytes = 0
        self.writer = pq.ParquetWriter(self.temporary, schema, compression="zstd", compression_level=1)

    def add(self, row: dict[str, Any], size: int) -> None:
        self.rows.append(row)
        self.bytes += size
        if self.bytes > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        if self.rows:
            self.writer.write_table(table_of(self.rows, self.schema))
        self.rows, self.bytes = [], 0

    def close(self) -> None:
        self.flush()
        self.writer.close()
        self.temporary.replace(self.path)


def collect(output: Path, files: list[dict[str, Any]], corpus: dict[str, Any]) -> dict[str, Any]:
    """Read a part's files; counts documents, their bytes, and failures by reason."""
    config = CorpusConfig.model_validate(corpus)
    documents = TableFile(output.with_suffix(".documents.parquet"), DOCUMENT_SCHEMA)
    failures = TableFile(output.with_suffix(".failures.parquet"), FAILURE_SCHEMA)
    pairs = TableFile(output.with_suffix(".pairs.parquet"), PAIR_SCHEMA)
    reasons: Counter[str] = Counter()
    damaged: list[str] = []
    count = size = 0
    for file, item in read_all([InputFile(**file) for file in files], config):
        row = item if isinstance(item, Failure) else document(item, config)
        if isinstance(row, Failure):
            reasons[row.reason] += 1
            failures.add(vars(row), len(row.detail))
            if row.reason == "damaged file":
                damaged.append(f"{file.path}: {row.detail}")
            continue
        length = len(row["text"].encode())
        documents.add(row, length)
        count, size = count + 1, size + length
        if isinstance(item, Page):
            for question, answer in item.pairs:
                pairs.add({"id": row["id"], "input": question, "output": answer}, 200)
    for table in (documents, failures, pairs):
        table.close()
    return {"documents": count, "bytes": size, "failures": dict(reasons), "damaged": damaged}


def read_all(files: list[InputFile], config: CorpusConfig) -> Iterator[tuple[InputFile, Page | Failure]]:
    """What the files hold, one after the other."""
    for file in files:
        with here(file) as local:
            for item in read_file(local, config):
                yield file, item


def document(page: Page, config: CorpusConfig) -> dict[str, Any] | Failure:
    """The row of a page, or why it has none."""
    content = page.content
    if isinstance(content, bytes):
        limits = config.extract
        try:
            text = normalise(EXTRACTOR.extract(content, page.charset, limits.engine, limits.seconds))
        except ExtractionError as error:
            return Failure(page.source, page.offset, str(error), url=page.url)
    else:
        text = normalise(content)
    if not text:
        return Failure(page.source, page.offset, "empty text", url=page.url)
    return {
        "id": hash64(page.source, page.offset, content),
        "source": page.source,
        "offset": page.offset,
        "url": page.url,
        "text": text,
    }
