"""Where documents come from: every kind of corpus is a list of input files and a function that reads one."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data_prep.config import CorpusConfig
from data_prep.contract.settings import InputError
from data_prep.documents import Item
from data_prep.sources import arc, html, jsonl, letters, parquet, python_docs, text, warc
from data_prep.sources.files import LISTS, Found, InputFile, find_local, real_place
from data_prep.sources.lists import Entry, read_list
from data_prep.sources.remote import is_remote, list_remote

CONNECTIONS = 32

SUFFIXES = {
    "warc": (".warc", ".arc"),
    "wet": (".wet",),
    "html": (".html", ".htm", ".xhtml"),
    "text": (".txt", ".md"),
    "jsonl": (".jsonl", ".json", ".ndjson"),
    "parquet": (".parquet",),
}


def list_files(
    corpus: CorpusConfig, others: Callable[[list[str]], None] = lambda names: None, seed: int = 0
) -> list[InputFile]:
    """The corpus's input files, each once however it was named or linked, sorted by name; `InputError` where
    a path names nothing.

    `others` is handed the names of files of other kinds that lie in the folders; `seed` is of what is made by
    rules.
    """
    if corpus.kind == "python_docs":
        return python_docs.installed().files
    if corpus.kind == "letters":
        return letters.inputs(corpus.letters, seed)
    suffixes = SUFFIXES[corpus.kind]
    found: dict[str, InputFile] = {}
    with ThreadPoolExecutor(CONNECTIONS) as pool:  # a crawl's list names tens of thousands of URLs
        entries = expand_lists(corpus.paths, corpus.path_prefix)
        for part in pool.map(lambda entry: _files(entry, suffixes), entries):
            for file in part.files:
                found.setdefault(real_place(file.path), file)
            others(part.others)
    return sorted(found.values(), key=lambda file: (file.name, file.path))


def _files(entry: Entry, suffixes: tuple[str, ...]) -> Found:
    try:
        return (list_remote if is_remote(entry.path) else find_local)(entry.path, suffixes)
    except InputError as error:
        raise InputError(f"{entry.where}{error}") from error


def expand_lists(paths: Sequence[str], prefix: str) -> Iterator[Entry]:
    """The paths, those that are lists (`LISTS`) replaced by what stands in them with the prefix before it."""
    for path in paths:
        if not path.endswith(LISTS):
            yield Entry(path)
            continue
        found = list_remote(path, LISTS) if is_remote(path) else find_local(path, LISTS)
        for file in found.files:
            yield from read_list(file, prefix)


def read_file(file: InputFile, corpus: CorpusConfig) -> Iterator[Item]:
    """What one input file holds."""
    match corpus.kind:
        case "python_docs":
            return python_docs.read(file)
        case "warc":
            read = arc.read if ".arc" in Path(file.path.lower()).suffixes else warc.read
            return read(file, corpus.extract.page_bytes)
        case "wet":
            return warc.read_wet(file, corpus.extract.page_bytes)
        case "html":
            return html.read(file, corpus.extract.page_bytes)
        case "text":
            return text.read(file, corpus.document_bytes)
        case "jsonl":
            return jsonl.read(file, corpus.text_field)
        case "parquet":
            return parquet.read(file, corpus.text_field)
        case "letters":
            return letters.read(file, corpus.letters)
