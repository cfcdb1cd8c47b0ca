"""The tagging step: every signal that a rule could ask for, one row a document, beside the documents.

    <name>.signals.parquet      id, bytes, characters, and a column per signal
    <name>.keys.npy             (documents, 2) uint64: the 128-bit hash for exact deduplication
    <name>.bands.npy            (bands, documents) uint64: the keys for near-deduplication, where it is used,
                                those of each band in their order, so that a range of them is a slice
    <name>.rows.npy             (bands, documents) uint32: which document each of these keys is of

The C4 filter rewrites the text; the filters after it, the sizes and the hashes are of what it leaves.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.config import CorpusConfig, NearDedupConfig
from data_prep.contract.settings import InputError
from data_prep.dedup.minhash import MinHash
from data_prep.documents import content_hash, write_array, write_table
from data_prep.filters import c4, fineweb, gopher, language, urls
from data_prep.filters.contamination import Contamination
from data_prep.filters.settings import C4Filter
from data_prep.filters.words import Parsed

VERSION = 4
PAGE_RULES = {"max_lorem_ipsum", "max_curly_brackets", "min_sentences", "max_bad_words"}


def tag_settings(corpus: CorpusConfig) -> tuple[dict[str, Any], dict[str, list[Path]]]:
    """What of the recipe the signals depend on (no threshold of a page), and the files that it names by key.

    Raises `InputError` where a file that the recipe names is not there.
    """
    filters, repetition = corpus.filters, corpus.filters.gopher_repetition
    settings: dict[str, Any] = {"use": filters.use}
    files: dict[str, list[Path]] = {}
    if "gopher_repetition" in filters.use:
        settings["top"], settings["duplicate"] = (
            [*repetition.max_top_ngrams],
            [*repetition.max_duplicate_ngrams],
        )
    if "c4" in filters.use:
        settings["c4"] = filters.c4.model_dump(mode="json", exclude={*PAGE_RULES, "bad_words"})
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
    hashes: list[bytes] = []
    bands = []
    minhash = MinHash(NearDedupConfig.model_validate(settings["near"])) if "near" in settings else None
    signals = signaller(settings, files)
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "bytes", "characters", *signals("", "")[1])}
    size = 0
    for batch in pq.ParquetFile(documents).iter_batches(256, columns=["id", "url", "text"]):
        for row in batch.to_pylist():
            text, values = signals(row["url"], row["text"])
            values = {"id": row["id"], "bytes": len(text.encode()), "characters": len(text), **values}
            for name, value in values.items():
                columns[name].append(value)
            hashes.append(content_hash(text))
            size += values["bytes"]
            if minhash:
                bands.append(minhash.bands(text))
    write_table(output.with_suffix(".signals.parquet"), _table(columns))
    write_array(output.with_suffix(".keys.npy"), np.frombuffer(b"".join(hashes), "<u8").reshape(-1, 2))
    if minhash:
        keys = np.array(bands, np.uint64).reshape(-1, minhash.config.bands).T
        rows = np.argsort(keys, axis=1, kind="stable")
        write_array(output.with_suffix(".bands.npy"), np.take_along_axis(keys, rows, 1))
        write_array(output.with_suffix(".rows.npy"), rows.astype(np.uint32))
    return {"documents": len(hashes), "bytes": size}


def _table(columns: Mapping[str, list[Any]]) -> pa.Table:
    """Columns with the types that an empty part has too."""
    types = {"id": pa.uint64(), "bytes": pa.int64(), "characters": pa.int64()}
    types |= {"language": pa.string(), "contaminated_by": pa.string()}
    return pa.table(
        {name: pa.array(values, types.get(name, pa.float64())) for name, values in columns.items()}
    )


Signals = Callable[[str, str], tuple[str, dict[str, Any]]]


def signaller(settings: Mapping[str, Any], files: Mapping[str, list[Path]]) -> Signals:
    """A function from a document's URL and text to the text that C4's lines leave, and its signals."""
    blocklist = frozenset[str]().union(*map(urls.read_blocklist, files.get("filters.url.blocklist", [])))
    lines = C4Filter.model_validate(settings.get("c4", {}))
    for path in files.get("filters.c4.bad_words", []):
        lines = lines.model_copy(update={"bad_words": path})
    contamination = None
    if "contamination" in settings:
        contamination = Contamination.read(files["decontaminate.paths"], **settings["contamination"])

    def signals(url: str, text: str) -> tuple[str, dict[str, Any]]:
        values: dict[str, Any] = {}
        parsed: Parsed | None = None
        for name in settings["use"]:
            if name == "url":
                values["url_blocked"] = float(urls.blocked(url, blocklist))
            elif name == "language":
                values["language"], values["language_score"] = language.detect(text)
            elif name == "c4":
                text, found = c4.clean_lines(text, lines)
                values |= found
                parsed = None
            else:
                parsed = parsed or Parsed.of(text)
                values |= _word_signals(name, parsed, settings)
        if contamination:
            values |= contamination.signals(text)
        return text, values

    return signals


def _word_signals(name: str, parsed: Parsed, settings: Mapping[str, Any]) -> dict[str, float]:
    if name == "gopher_quality":
        return gopher.quality(parsed)
    if name == "gopher_repetition":
        return gopher.repetition(parsed, settings["top"], settings["duplicate"])
    assert name == "fineweb"
    return fineweb.signals(parsed)
