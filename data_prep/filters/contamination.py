"""Decontamination: training documents that share n-grams of words with evaluation texts (GPT-3)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.filters.words import shingles
from data_prep.sources.files import COMPRESSIONS
from data_prep.sources.streams import open_stream


@dataclass(frozen=True)
class Contamination:
    """The n-grams of the evaluation files as sorted 64-bit hashes, and which file each is from."""

    ngram: int
    hashes: NDArray[np.uint64]
    files: NDArray[np.int64]
    names: list[str]

    @classmethod
    def read(cls, paths: list[Path], ngram: int) -> "Contamination":
        """Read evaluation files; texts shorter than an n-gram count for nothing."""
        hashes, files = [], []
        for number, path in enumerate(paths):
            for text in evaluation_texts(path):
                found = shingles(text, ngram, whole=False)
                hashes.append(found)
                files.append(np.full(len(found), number))
        flat = np.concatenate([np.empty(0, np.uint64), *hashes])
        first, index = np.unique(flat, return_index=True)
        return cls(
            ngram, first, np.concatenate([np.empty(0, int), *files])[index], [path.name for path in paths]
        )

    def signals(self, text: str) -> dict[str, Any]:
        """How many different n-grams are in evaluation files too, and the file with most of them."""
        found = np.unique(shingles(text, self.ngram, whole=False))
        hit = self._hits(found)
        names = np.bincount(self.files[hit], minlength=1)
        by = self.names[int(names.argmax())] if len(hit) else None
        return {"contaminated_ngrams": float(len(hit)), "contaminated_by": by}

    def _hits(self, found: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Where in the table those of the n-grams are that it holds."""
        at = np.minimum(np.searchsorted(self.hashes, found), len(self.hashes) - 1)
        return at[self.hashes[at] == found] if len(self.hashes) else at[:0]


def evaluation_texts(path: Path) -> Iterator[str]:
    """Every string in a JSON lines file, every paragraph of another."""
    with open_stream(str(path)) as stream:
        raw = stream.read().decode("utf-8", "replace")
    bare = path.with_suffix("") if path.suffix in COMPRESSIONS else path
    if bare.suffix in (".jsonl", ".ndjson", ".json"):
        for line in raw.splitlines():
            if line.strip():
                yield from _strings(json.loads(line))
    else:
        yield from raw.split("\n\n")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
