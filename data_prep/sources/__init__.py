"""Where documents come from: every kind of corpus is a list of input files and a function that reads one."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from data_prep.config import CorpusConfig
from data_prep.documents import Failure, Page
from data_prep.sources import arc, html, jsonl, parquet, python_docs, text, warc
from data_prep.sources.files import LISTS, InputFile, find_local, open_stream
from data_prep.sources.remote import here, is_remote, list_remote

CONNECTIONS = 32

SUFFIXES = {
    "warc": (".warc", ".arc"),
    "wet": (".wet",),
    "html": (".html", ".htm", ".xhtml"),
    "text": (".txt", ".md"),
    "jsonl": (".jsonl", ".json", ".ndjson"),
    "parquet": (".parquet",),
}


def list_files(corpus: CorpusConfig) -> list[InputFile]:
    """The corpus's input files, each once, sorted by name; `InputError` where a path names nothing."""
    if corpus.kind == "python_docs":
        return python_docs.installed().files
    suffixes = SUFFIXES[corpus.kind]
    found: dict[str, InputFile] = {}
    with ThreadPoolExecutor(CONNECTIONS) as pool:  # a crawl's list names tens of thousands of URLs
        for files in pool.map(
            lambda path: (list_remote if is_remote(path) else find_local)(path, suffixes),
            expand_lists(corpus.paths, corpus.path_prefix),
        ):
            found |= {file.path: file for file in files if file.path not in found}
    return sorted(found.values(), key=lambda file: (file.name, file.path))


def expand_lists(paths: Sequence[str], prefix: str) -> Iterator[str]:
    """The paths, those that are lists (`LISTS`) replaced by what stands in them with the prefix before it."""
    for path in paths:
        if not path.endswith(LISTS):
            yield path
            continue
        [file] = list_remote(path, LISTS) if is_remote(path) else find_local(path, LISTS)
        with here(file) as local, open_stream(local.path) as stream:
            yield from (prefix + line.decode().strip() for line in stream if line.strip())


def read_file(file: InputFile, corpus: CorpusConfig) -> Iterator[Page | Failure]:
    """What one input file holds."""
    match corpus.kind:
        case "python_docs":
            return python_docs.read(file)
        case "warc":
            read = arc.read if ".arc" in file.path.rsplit("/", 1)[-1] else warc.read
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
