"""Rows of the files that tasks are given, one reader a format.

    jsonl     a JSON object a line                         json      an array of objects, or SQuAD's nesting
    csv, tsv  a first line of names, or `columns`          parquet   its columns
    conll     a word a line with its tags, blank lines between sentences; `columns` names what a line has

Files may be compressed (.gz, .xz). Whatever is wrong with one is a sentence that names it and the line.
"""

import csv
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from data_prep.contract.opening import opened
from data_prep.contract.reading import printable, read_json, read_jsonl
from data_prep.contract.settings import InputError
from data_prep.contract.utf8 import decoded
from pipeline.tasks.rows import Row
from pipeline.tasks.settings import ReadConfig

MOST_BYTES = 4 << 30
"""Largest file once it is unpacked."""
CELL = 1 << 24
"""Longest cell of CSV and TSV, in characters."""
CHUNK = 1 << 20
PACKED: dict[str, Callable[[IO[bytes]], Any]] = {".gz": gzip.open, ".xz": lzma.open}
SUFFIXES = {
    ".jsonl": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".conll": "conll",
    ".txt": "conll",
}

Read = Callable[[Path, bytes, ReadConfig], Iterable[Row]]


def read_rows(path: Path, how: ReadConfig) -> list[Row]:
    """All rows of a file. `InputError` where it is not what it should be, or has none."""
    kind = how.format if how.format != "auto" else kind_of(path)
    rows = list(READERS[kind](path, unpacked(path), how))
    if not rows:
        raise InputError(f"{path}: no rows; at least one is expected")
    return rows


def kind_of(path: Path) -> str:
    """What a file's name says it is."""
    name = Path(path.stem) if path.suffix in PACKED else path
    if name.suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise InputError(f"{path}: its name says no format ({known} do); name it with task.read.format")
    return SUFFIXES[name.suffix]


def unpacked(path: Path) -> bytes:
    """The bytes of a file, unpacked."""
    try:
        with opened(path) as file:
            stream: Any = PACKED[path.suffix](file) if path.suffix in PACKED else file
            return _all(stream, path)
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise InputError(f"{path}: the compressed file is truncated or corrupt ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _all(stream: IO[bytes], path: Path) -> bytes:
    found = bytearray()
    while piece := stream.read(CHUNK):
        found += piece
        if len(found) > MOST_BYTES:
            raise InputError(f"{path}: more than {MOST_BYTES:,} bytes, which is the limit")
    return bytes(found)


def text_of(path: Path, content: bytes) -> str:
    """A file's text."""
    try:
        return decoded(content)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from None


def json_lines(path: Path, content: bytes, how: ReadConfig) -> Iterator[Row]:
    """An object a line."""
    del how
    for number, value in read_jsonl(content, path):
        yield _object(f"{path}: line {number}", value)


def json_whole(path: Path, content: bytes, how: ReadConfig) -> Iterator[Row]:
    """An array of objects, or the questions of SQuAD's nesting."""
    del how
    value = read_json(content, path)
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        yield from _questions(path, value["data"])
        return
    if not isinstance(value, list):
        raise InputError(f"{path}: an array of objects, or SQuAD's object with `data`, is expected")
    for number, one in enumerate(value, 1):
        yield _object(f"{path}: row {number}", one)


def _questions(path: Path, articles: list[Any]) -> Iterator[Row]:
    """A row for every question: id, question, context, answers."""
    for number, article in enumerate(articles, 1):
        where = f"{path}: article {number}"
        try:
            for paragraph in article["paragraphs"]:
                for one in paragraph["qas"]:
                    about = f"{where}, question {printable(str(one.get('id')))[:60]}"
                    values = {"id": one.get("id"), "question": one["question"], "answers": one["answers"]}
                    yield Row(about, values | {"context": paragraph["context"]})
        except (KeyError, TypeError, AttributeError) as error:
            problem = printable(repr(error))[:80]
            raise InputError(f"{where}: not as SQuAD has it ({problem})") from None


def _object(where: str, value: Any) -> Row:
    if not isinstance(value, dict):
        raise InputError(f"{where}: an object with columns is expected, not a {type(value).__name__}")
    return Row(where, value)


def comma_separated(path: Path, content: bytes, how: ReadConfig) -> Iterator[Row]:
    """CSV, whose cells may stand in quotes."""
    return _separated(path, content, how, ",", how.quotes is not False)


def tab_separated(path: Path, content: bytes, how: ReadConfig) -> Iterator[Row]:
    """TSV, whose quotes are characters as others are unless the recipe says otherwise."""
    return _separated(path, content, how, "\t", how.quotes is True)


def _separated(path: Path, content: bytes, how: ReadConfig, separator: str, quotes: bool) -> Iterator[Row]:
    text = text_of(path, content)
    before = csv.field_size_limit(CELL)
    try:
        if quotes:
            lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
            numbered = ((lines.line_num, cells) for cells in lines)
        else:  # one row a line, whatever is in it
            plain = (line.removesuffix("\r").split(separator) for line in text.split("\n"))
            numbered = ((number, cells if cells != [""] else []) for number, cells in enumerate(plain, 1))
        names = how.columns
        for number, cells in numbered:
            if not cells:
                continue
            if not names:
                names = cells
                if len(set(names)) < len(names):
                    raise InputError(
                        f"{path}: line {number} is taken for the names of columns and two are equal; name "
                        "them in task.read.columns where the file has no line of names"
                    )
                continue
            if len(cells) != len(names):
                raise InputError(
                    f"{path}: line {number} has {len(cells)} cells and there are {len(names)} columns "
                    f"({printable(', '.join(names))[:100]})"
                )
            yield Row(f"{path}: line {number}", dict(zip(names, cells, strict=True)))
    except csv.Error as error:
        raise InputError(
            f"{path}: not CSV ({error}); task.read.quotes false reads quotes as they are"
        ) from None
    finally:
        csv.field_size_limit(before)


def parquet(path: Path, content: bytes, how: ReadConfig) -> Iterator[Row]:
    """The columns of a Parquet file."""
    del how
    try:
        import pyarrow
        from pyarrow import parquet as files
    except ImportError:
        raise InputError(
            f"{path}: Parquet is read by pyarrow, which is not installed; pip install 'bloomery[finetune]'"
        ) from None
    try:
        table = files.read_table(io.BytesIO(content))
        rows = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: not Parquet ({printable(str(error))[:120]})") from None
    for number, one in enumerate(rows, 1):
        yield Row(f"{path}: row {number}", one)


def conll(path: Path, content: bytes, how: ReadConfig) -> Iterator[Row]:
    """A row a sentence: for every column of its lines a list of what stands there.

    Lines of a document's start (-DOCSTART-) belong to no sentence. A file of two columns has words and tags.
    """
    names = how.columns or ["words", "tags"]
    lines: list[Sequence[str]] = []
    begun = 0
    for number, line in enumerate([*text_of(path, content).split("\n"), ""], 1):
        cells = line.split()
        if cells and not cells[0].startswith("-DOCSTART-"):
            if len(cells) != len(names):
                raise InputError(
                    f"{path}: line {number} has {len(cells)} columns and {len(names)} are named "
                    f"({printable(', '.join(names))[:100]}); name them in task.read.columns"
                )
            begun = begun if lines else number
            lines.append(cells)
        elif lines:
            values = {
                name: list(column) for name, column in zip(names, zip(*lines, strict=True), strict=True)
            }
            yield Row(f"{path}: line {begun}", values)
            lines = []


READERS: dict[str, Read] = {
    "jsonl": json_lines,
    "json": json_whole,
    "csv": comma_separated,
    "tsv": tab_separated,
    "parquet": parquet,
    "conll": conll,
}
