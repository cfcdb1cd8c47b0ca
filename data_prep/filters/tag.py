"""The tagging step: every signal that a rule could ask for, one row a document, beside the documents.

    <name>.signals.parquet      id, over_time, bytes, characters, and a column per signal
    <name>.keys.npy             (documents, 2) uint64: the 128-bit hash for exact deduplication
    <name>.bands.npy            (bands, documents) uint64: the keys for near-deduplication, where it is used,
                                those of each band in their order, so that a range of them is a slice
    <name>.rows.npy             (bands, documents) uint32: which document each of these keys is of

The C4 filter rewrites the text; the filters after it, the sizes and the hashes are of what it leaves.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.config import CorpusConfig, NearDedupConfig
from data_prep.contract.settings import InputError
from data_prep.dedup.minhash import MinHash
from data_prep.documents import content_hash, write_array, write_table
from data_prep.filters import c4, fineweb, gopher, language, urls
from data_prep.filters.contamination import Contamination
from data_prep.filters.words import Parsed
from data_prep.limit import OverTimeError, limited

VERSION = 5


def tag_settings(corpus: CorpusConfig) -> tuple[dict[str, Any], dict[str, list[Path]]]:
    """What of the recipe the signals depend on (no threshold of a page), and the files that it names by key.

    Raises `InputError` where a file that the recipe names is not there.
    """
    filters = corpus.filters
    settings: dict[str, Any] = {"use": filters.use, "by_language": bool(filters.by_language)}
    files: dict[str, list[Path]] = {}
    books = {code: filters.of_language(code) for code in ("", *filters.by_language)}
    if "gopher_repetition" in filters.use:
        bounds = [book.gopher_repetition for book in books.values()]
        settings["top"] = [*dict.fromkeys(n for each in bounds for n in each.max_top_ngrams)]
        settings["duplicate"] = [*dict.fromkeys(n for each in bounds for n in each.max_duplicate_ngrams)]
    if "gopher_quality" in filters.use:
        settings["stop_words"] = gopher.stop_words({c: b.gopher_quality.stop_words for c, b in books.items()})
    if "c4" in filters.use:
        settings["c4"] = c4.line_settings(filters)
        if filters.c4.bad_words:
            files["filters.c4.bad_words"] = [filters.c4.bad_words]
    if "url" in filters.use and filters.url.blocklist:
        files["filters.url.blocklist"] = [filters.url.blocklist]
    if corpus.dedup.near.enabled:
        settings["near"] = corpus.dedup.near.model_dump(mode="json")
    if corpus.decontaminate.paths:
        settings["contamination"] = corpus.decontaminate.model_dump(mode="json", include={"ngram"})
        files["decontaminate.paths"] = [Path(path) for path in corpus.decontaminate.paths]
    for key, paths in files.items():
        for path in paths:
            if not path.is_file():
                raise InputError(f"corpus.{key}: no such file: {path}")
    return settings, files


def tag(
    output: Path, documents: Path, settings: dict[str, Any], files: dict[str, list[Path]]
) -> dict[str, Any]:
    """Compute the signals of a part's documents; `files` has what the recipe names, by key."""
    tagger = Tagger(settings, files)
    for batch in pq.ParquetFile(documents).iter_batches(256, columns=["id", "url", "text"]):
        for row in batch.to_pylist():
            tagger.add(**row)
    write_table(output.with_suffix(".signals.parquet"), _table(tagger.columns))
    write_array(output.with_suffix(".keys.npy"), np.frombuffer(b"".join(tagger.hashes), "<u8").reshape(-1, 2))
    if tagger.minhash:
        keys = np.array(tagger.bands, np.uint64).reshape(-1, tagger.minhash.config.bands).T
        rows = np.argsort(keys, axis=1, kind="stable")
        write_array(output.with_suffix(".bands.npy"), np.take_along_axis(keys, rows, 1))
        write_array(output.with_suffix(".rows.npy"), rows.astype(np.uint32))
    return {"documents": len(tagger.hashes), "bytes": sum(tagger.columns["bytes"])}


class Tagger:
    """What is found out of documents, one after the other."""

    def __init__(self, settings: Mapping[str, Any], files: Mapping[str, list[Path]]) -> None:
        near = settings.get("near")
        self.minhash = MinHash(NearDedupConfig.model_validate(near)) if near else None
        self.signals = signaller(settings, files)
        self.nothing = self._found("", "")
        self.columns: dict[str, list[Any]] = {name: [] for name in ("id", "over_time", *self.nothing[0])}
        self.hashes: list[bytes] = []
        self.bands: list[NDArray[np.uint64]] = []

    def add(self, id: int, url: str, text: str) -> None:
        """Look at a document; one that takes too long is marked and has no signals but its size."""
        over_time = False
        try:
            with limited(text):
                values, content, bands = self._found(url, text)
        except OverTimeError:
            over_time = True
            values, content, bands = self.nothing
            values = values | _size(text)
        for name, value in ({"id": id, "over_time": over_time} | values).items():
            self.columns[name].append(value)
        self.hashes.append(content)
        self.bands.append(bands)

    def _found(self, url: str, text: str) -> tuple[dict[str, Any], bytes, NDArray[np.uint64]]:
        """Its signals, the hash of what C4's lines leave of it, and its keys for near-deduplication."""
        text, values = self.signals(url, text)
        bands = self.minhash.bands(text) if self.minhash else np.empty(0, np.uint64)
        return _size(text) | values, content_hash(text), bands


def _size(text: str) -> dict[str, Any]:
    return {"bytes": len(text.encode()), "characters": len(text)}


def _table(columns: Mapping[str, list[Any]]) -> pa.Table:
    """Columns with the types that an empty part has too."""
    types = {"id": pa.uint64(), "bytes": pa.int64(), "characters": pa.int64()}
    types |= {"language": pa.string(), "contaminated_by": pa.string(), "over_time": pa.bool_()}
    return pa.table(
        {name: pa.array(values, types.get(name, pa.float64())) for name, values in columns.items()}
    )


Signals = Callable[[str, str], tuple[str, dict[str, Any]]]


def signaller(settings: Mapping[str, Any], files: Mapping[str, list[Path]]) -> Signals:
    """A function from a document's URL and text to the text that C4's lines leave, and its signals."""
    blocklist = urls.Blocklist.read(files.get("filters.url.blocklist", []))
    bad_words = next(iter(files.get("filters.c4.bad_words", [])), None)
    lines = c4.Lines(settings["c4"], bad_words) if "c4" in settings["use"] else None
    contamination = None
    if "contamination" in settings:
        contamination = Contamination.read(files["decontaminate.paths"], **settings["contamination"])

    def signals(url: str, text: str) -> tuple[str, dict[str, Any]]:
        values: dict[str, Any] = {}
        document = Document(text)
        for name in settings["use"]:
            if name == "url":
                values["url_blocked"] = float(blocklist.blocks(url))
            elif name == "language":
                values["language"], values["language_score"] = document.language
            elif name == "c4":
                assert lines is not None
                text, found = lines.clean(text)
                values |= found
                document = Document(text)
            else:
                values |= document.word_signals(name, settings)
        if settings["by_language"] and "language" not in values:
            values["language"], values["language_score"] = document.language
        if contamination:
            values |= contamination.signals(text)
        return text, values

    return signals


class Document:
    """A text, looked at once for all filters."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def parsed(self) -> Parsed:
        return Parsed.of(self.text)

    @cached_property
    def language(self) -> tuple[str, float]:
        """Its code and the confidence in it."""
        return language.detect(self.text)

    def word_signals(self, name: str, settings: Mapping[str, Any]) -> dict[str, float]:
        """What one of the filters on words looks at."""
        if name == "gopher_quality":
            known = settings["stop_words"]
            code = self.language[0] if len(known) > 1 else ""
            return gopher.quality(self.parsed, known.get(code, known[""]))
        if name == "gopher_repetition":
            return gopher.repetition(self.parsed, settings["top"], settings["duplicate"])
        assert name == "fineweb"
        return fineweb.signals(self.parsed)
