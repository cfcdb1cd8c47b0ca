"""Where documents come from: every kind of corpus is a list of input files and a function that reads one."""

from collections.abc import Iterator

from data_prep.config import CorpusConfig
from data_prep.documents import Failure, Page
from data_prep.sources import jsonl, python_docs, text, warc
from data_prep.sources.files import InputFile, find_files

SUFFIXES = {
    "warc": (".warc",),
    "text": (".txt", ".md"),
    "jsonl": (".jsonl", ".json", ".ndjson"),
}


def list_files(corpus: CorpusConfig) -> list[InputFile]:
    """The corpus's input files; `InputError` where a path names nothing."""
    if corpus.kind == "python_docs":
        return python_docs.installed().files
    return find_files(corpus.paths, SUFFIXES[corpus.kind])


def read_file(file: InputFile, corpus: CorpusConfig) -> Iterator[Page | Failure]:
    """What one input file holds."""
    match corpus.kind:
        case "python_docs":
            return python_docs.read(file)
        case "warc":
            return warc.read(file, corpus.extract.page_bytes)
        case "text":
            return text.read(file, corpus.document_bytes)
        case "jsonl":
            return jsonl.read(file, corpus.text_field)
