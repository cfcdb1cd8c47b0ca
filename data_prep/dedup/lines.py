"""Lines that occur in several documents: one document keeps each, as in C4 (Raffel et al. 2020, section 2.2).

The paper speaks of spans of three sentences; the code that made C4, which this follows, compares lines by a
hash of their lower-cased text. The document with the smallest id keeps a line, at its first place there, so
the result depends neither on the order of the files nor on how they were cut into parts. Hashes have 64 bits:
of ten billion different lines about three are taken for another.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.documents import hash64, normalise
from data_prep.filters import sentences as ends

REASON = "too few sentences left"
"""Why a document goes that lost lines."""
LINE = np.dtype([("hash", "<u8"), ("id", "<u8"), ("row", "<u4")])
"""A line of a document: its hash, the document's id, and its row in its part."""
LOST = np.dtype([("part", "<u4"), ("row", "<u4"), ("hash", "<u8")])
"""A line that a document loses."""


def line_hash(line: str) -> int:
    """What is compared of a line; 0 for an empty one, which is nobody's."""
    key = line.strip().lower()
    return hash64(key) if key else 0


def line_hashes(text: str) -> list[int]:
    """Those of all lines; a line that is there a million times is hashed once."""
    lines = text.split("\n")
    known = {line: line_hash(line) for line in {*lines}}
    return [known[line] for line in lines]


def without_lines(text: str, lost: frozenset[int]) -> tuple[str, int]:
    """The text without its lines of these hashes and without repeated ones, and how many went."""
    seen: set[int] = set()
    left = []
    for line, key in zip(text.split("\n"), line_hashes(text), strict=True):
        if key and (key in lost or key in seen):
            continue
        seen.add(key)
        left.append(line)
    gone = text.count("\n") + 1 - len(left)
    return (normalise("\n".join(left)) if gone else text), gone


def lost_lines(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """All rows (LINE, a sequence of them per part) but the one with the smallest id of each hash, as LOST."""
    rows = np.concatenate([np.empty(0, LINE), *parts])
    part = np.repeat(np.arange(len(parts), dtype=np.uint32), [*map(len, parts)])
    order = np.lexsort((rows["row"], part, rows["id"], rows["hash"]))
    hashes = rows["hash"][order]
    others = order[1:][hashes[1:] == hashes[:-1]]
    lost = np.empty(len(others), LOST)
    lost["part"], lost["row"], lost["hash"] = part[others], rows["row"][others], rows["hash"][others]
    return np.sort(lost, order=["part", "row", "hash"])


def by_row(lost: NDArray[Any]) -> dict[int, frozenset[int]]:
    """The hashes that each row loses."""
    rows, starts = np.unique(lost["row"], return_index=True)
    pieces = np.split(lost["hash"], starts[1:])
    return {row: frozenset(piece.tolist()) for row, piece in zip(rows.tolist(), pieces, strict=False)}


def sentences(text: str) -> int:
    """Sentences in a text, as C4 counts them."""
    return sum(map(ends.sentences, text.split("\n")))
