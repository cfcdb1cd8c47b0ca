"""The signals of the Gopher filters (Rae et al. 2021, appendix A1.1).

The paper leaves details open; where it does, these follow datatrove, whose reading made FineWeb: ratios to
the number of words count symbols as words, and n-grams are measured in characters.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from data_prep.filters.words import Parsed, mix, ngram_hashes

STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])
BULLETS = ("•", "-")
ELLIPSES = ("...", "…")


def quality(parsed: Parsed) -> dict[str, float]:
    """The values that the quality rules look at; all are 0 for a text without words."""
    words, text, lines = parsed.words, parsed.text, parsed.lines
    lengths = [len(word) for word in words if any(map(str.isalnum, word)) or "_" in word]
    count = max(len(words), 1)
    return {
        "gopher_words": len(lengths),
        "gopher_mean_word_length": sum(lengths) / max(len(lengths), 1),
        "gopher_hash_ratio": text.count("#") / count,
        "gopher_ellipsis_ratio": sum(map(text.count, ELLIPSES)) / count,
        "gopher_bullet_lines": _share(line.lstrip().startswith(BULLETS) for line in lines),
        "gopher_ellipsis_lines": _share(line.rstrip().endswith(ELLIPSES) for line in lines),
        "gopher_alphabetic_words": sum(word.isalpha() or any(map(str.isalpha, word)) for word in words)
        / count,
        "gopher_stop_words": len(STOP_WORDS.intersection(words)),
    }


def _share(hits: Iterable[bool]) -> float:
    values = list(hits)
    return sum(values) / max(len(values), 1)


TOP_NGRAMS, DUPLICATE_NGRAMS = (2, 3, 4), (5, 6, 7, 8, 9, 10)


def repetition(
    parsed: Parsed, top: Sequence[int] = TOP_NGRAMS, duplicate: Sequence[int] = DUPLICATE_NGRAMS
) -> dict[str, float]:
    """The values that the repetition rules look at, each a share of the lines, paragraphs or characters."""
    characters = max(len(parsed.text), 1)
    values: dict[str, float] = {}
    for name, pieces in (("line", parsed.full_lines), ("paragraph", parsed.paragraphs)):
        count, size = duplicates(pieces)
        values[f"gopher_duplicate_{name}s"] = count / max(len(pieces), 1)
        values[f"gopher_duplicate_{name}_characters"] = size / characters
    hashes = mix(parsed.word_ids)
    for n in top:
        values[f"gopher_top_{n}_gram"] = top_ngram(hashes, parsed.word_ends, n) / characters
    for n in duplicate:
        values[f"gopher_duplicate_{n}_grams"] = duplicate_ngrams(hashes, parsed.word_ends, n) / characters
    return values


def duplicates(pieces: Sequence[str]) -> tuple[int, int]:
    """How many pieces occurred before, and the characters in them."""
    seen: set[str] = set()
    count = size = 0
    for piece in pieces:
        if piece in seen:
            count, size = count + 1, size + len(piece)
        else:
            seen.add(piece)
    return count, size


def top_ngram(hashes: NDArray[np.uint64], ends: NDArray[np.int64], n: int) -> int:
    """Characters in all occurrences of the commonest n-gram, with the spaces inside it: the first one where
    several are as common. `hashes` and `ends` have one entry a word."""
    grams = ngram_hashes(hashes, n)
    if not len(grams):
        return 0
    order = np.argsort(grams, kind="stable")
    ranked = grams[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    counts = np.diff(np.append(starts, len(ranked)))
    first = int(order[starts[counts == counts.max()]].min())
    return (_characters(ends, first, n) + n - 1) * int(counts.max())


def duplicate_ngrams(hashes: NDArray[np.uint64], ends: NDArray[np.int64], n: int) -> int:
    """Characters in n-grams that occurred before. After a hit the scan goes on behind it, so nothing counts
    twice; what it jumps over does not count as having occurred."""
    grams = ngram_hashes(hashes, n)
    order = np.argsort(grams, kind="stable")
    ranked = grams[order]
    same = ranked[1:] == ranked[:-1]
    if not same.any():
        return 0
    repeated = np.zeros(len(grams), bool)
    repeated[order[1:][same]] = repeated[order[:-1][same]] = True
    seen: set[int] = set()
    size, resume = 0, 0
    for position in np.flatnonzero(repeated).tolist():
        if position < resume:
            continue
        gram = int(grams[position])
        if gram in seen:
            size += _characters(ends, position, n)
            resume = position + n
        else:
            seen.add(gram)
    return size


def _characters(ends: NDArray[np.int64], start: int, n: int) -> int:
    return int(ends[start + n - 1]) - (int(ends[start - 1]) if start else 0)
