"""The first step: the files of a part become clean documents, and what gave none is kept with its reason.

<name>.documents.parquet    DOCUMENT_SCHEMA
<name>.failures.parquet     FAILURE_SCHEMA
<name>.pairs.parquet        (id, input, output) for instruction tuning, where the source makes them
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.account import Account
from data_prep.cleaning import clean, clean_address, clean_detail, normalise, unreadable
from data_prep.config import CorpusConfig
from data_prep.documents import DOCUMENT_SCHEMA, FAILURE_SCHEMA, Failure, Page, Passed, hash64, table_of
from data_prep.extract.html import ExtractionError
from data_prep.extract.worker import Extractor
from data_prep.instructions import PAIR_SCHEMA
from data_prep.sources import read_file
from data_prep.sources.files import InputFile
from data_prep.sources.remote import here
from data_prep.sources.streams import metered

VERSION = 4
FLUSH_BYTES = 16 << 20
LONG_TEXT = 200_000
"""Characters of a text that is cleaned in the extractor's process, where time is limited; shorter ones take
milliseconds."""

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
    """Read a part's files. Its counts say what became of each record and of each byte (`account`)."""
    config = CorpusConfig.model_validate(corpus)
    documents = TableFile(output.with_suffix(".documents.parquet"), DOCUMENT_SCHEMA)
    failures = TableFile(output.with_suffix(".failures.parquet"), FAILURE_SCHEMA)
    pairs = TableFile(output.with_suffix(".pairs.parquet"), PAIR_SCHEMA)
    account = Account()
    size = 0
    for file, item in read_all([InputFile(**file) for file in files], config, account):
        row = document(item, config) if isinstance(item, Page) else item
        account.add(file, row)
        if isinstance(row, Failure):
            failures.add(failed(row), len(row.detail))
        else:
            length = len(row["text"].encode())
            documents.add(row, length)
            size += length
            for question, answer in item.pairs if isinstance(item, Page) else ():
                pairs.add({"id": row["id"], "input": clean(question), "output": clean(answer)}, 200)
    for table in (documents, failures, pairs):
        table.close()
    return {"bytes": size, **account.counts()}


def read_all(
    files: list[InputFile], config: CorpusConfig, account: Account | None = None
) -> Iterator[tuple[InputFile, Page | Failure]]:
    """What the files hold, one after the other; what is passed over is only counted, in `account`.

    A reader that leaves a file before its end says why in the last thing that it yields; where it does not,
    that is a failure: nothing is lost in silence.
    """
    account = account or Account()
    for file in files:
        with here(file) as local, metered() as meter:
            item = None
            for item in read_file(local, config):
                if isinstance(item, Passed):
                    account.passed[item.reason] += 1
                else:
                    yield file, item
            left = Path(local.path).stat().st_size - meter.bytes if local.path else 0
            if left > 0 and not isinstance(item, Failure):
                item = Failure(file.name, meter.bytes, "not read to its end", f"{left} bytes are left")
                yield file, item
            if item is None:
                account.passed["file without a document"] += 1
            account.read(meter.bytes, left, item.reason if isinstance(item, Failure) else "")


def document(page: Page, config: CorpusConfig) -> dict[str, Any] | Failure:
    """The row of a page, or why it has none."""
    content, limits = page.content, config.extract
    try:
        if isinstance(content, str) and len(content) <= LONG_TEXT:
            text = normalise(content)
        else:
            text = EXTRACTOR.extract(content, page.charset, limits.engine, limits.seconds)
    except ExtractionError as error:
        return Failure(page.source, page.offset, str(error), url=page.url)
    problem = unreadable(text)
    if not text or problem:
        reason = "unreadable characters" if problem else "empty text"
        return Failure(page.source, page.offset, reason, problem, page.url)
    return {
        "id": hash64(page.source, page.offset, content),
        "source": clean(page.source),
        "offset": page.offset,
        "url": clean_address(page.url),
        "text": text,
    }


def failed(row: Failure) -> dict[str, Any]:
    """The row of a failure."""
    url, detail = clean_address(row.url), clean_detail(row.detail)
    known = {"source": clean(row.source), "url": url, "detail": detail}
    return vars(row) | known
