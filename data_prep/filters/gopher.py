"""The signals of the Gopher filters (Rae et al. 2021, appendix A1.1).

The paper leaves details open; where it does, these follow datatrove, whose reading made FineWeb: ratios to
the number of words count symbols as words, and n-grams are measured in characters. Lengths of words are
letters."""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from data_prep.filters.hashes import BASE, mix
from data_prep.filters.scripts import IS_UNSPACED
from data_prep.filters.words import Parsed, letters_in, without_formats

STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])
BULLETS = ("•", "-")
ELLIPSES = ("...", "…")
WORD_CHARACTER = re.compile(r"\w")


def stop_words(given: Mapping[str, Sequence[str] | None]) -> dict[str, list[str] | None]:
    """The stop words by language, "" for all others, of those that a recipe gives: the paper's are
    English."""
    known = {
        code: None if words is None else [without_formats(normalize("NFC", word)) for word in words]
        for code, words in given.items()
    }
    if given.get("en", given[""]) is None:
        known["en"] = sorted(STOP_WORDS)
    return known


def quality(parsed: Parsed, stop_words: Collection[str] | None = STOP_WORDS) -> dict[str, float]:
    """The values that the quality rules look at; all are 0 for a text without words.

    Not a number is what no rule can judge: the mean length of words where most of them are estimates, and the
    number of stop words where none are known.
    """
    words, text, lines = parsed.words, parsed.text, parsed.lines
    real = [word for word in words if word.isalnum() or WORD_CHARACTER.search(word)]
    count = max(len(words), 1)
    return {
        "gopher_words": len(real),
        "gopher_mean_word_length": mean_length(parsed, real),
        "gopher_hash_ratio": text.count("#") / count,
        "gopher_ellipsis_ratio": sum(map(text.count, ELLIPSES)) / count,
        "gopher_bullet_lines": _share(line.lstrip().startswith(BULLETS) for line in lines),
        "gopher_ellipsis_lines": _share(line.rstrip().endswith(ELLIPSES) for line in lines),
        "gopher_alphabetic_words": sum(word.isalpha() or any(map(str.isalpha, word)) for word in words)
        / count,
        "gopher_stop_words": math.nan if stop_words is None else found_stop_words(parsed, stop_words),
    }


def mean_length(parsed: Parsed, real: Sequence[str]) -> float:
    """Mean letters of the words that are no symbols, estimates apart."""
    estimates = int(parsed.estimated.sum())
    if 2 * estimates > len(parsed.words):
        return math.nan
    if estimates:
        real = [word for word in real if not IS_UNSPACED.match(word)]
    return letters_in(real) / max(len(real), 1)


def found_stop_words(parsed: Parsed, stop_words: Collection[str]) -> int:
    """How many of the stop words are among the words; in a script without spaces they may be anywhere in
    them."""
    anywhere = [word for word in stop_words if IS_UNSPACED.match(word)]
    text = without_formats(parsed.text) if anywhere else ""
    return len({*stop_words}.difference(anywhere).intersection(parsed.words)) + sum(
        word in text for word in anywhere
    )


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
    for n, positions, grams in repeated_ngrams(mix(parsed.word_ids), max([*top, *duplicate, 0])):
        if n in top:
            size = top_ngram(positions, grams, parsed.word_ends, parsed.spaces, n)
            values[f"gopher_top_{n}_gram"] = size / characters
        if n in duplicate:
            size = duplicate_ngrams(positions, grams, parsed.word_ends, n)
            values[f"gopher_duplicate_{n}_grams"] = size / characters
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


def repeated_ngrams(
    hashes: NDArray[np.uint64], longest: int
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.uint64]]]:
    """For n = 1 to `longest`: where n-grams start that occur more than once, in order, and a hash of each.

    An n-gram can only be repeated where its first n - 1 words are, so ever fewer places have to be looked at.
    """
    positions, grams = np.arange(len(hashes)), hashes
    for n in range(1, longest + 1):
        if n > 1:
            inside = positions + n <= len(hashes)
            positions = positions[inside]
            grams = mix(grams[inside] * BASE + hashes[positions + n - 1])
        order = np.argsort(grams)
        ranked = grams[order]
        same = ranked[1:] == ranked[:-1]
        repeated = np.zeros(len(grams), bool)
        repeated[order[1:][same]] = repeated[order[:-1][same]] = True
        positions, grams = positions[repeated], grams[repeated]
        yield n, positions, grams


def top_ngram(
    positions: NDArray[np.int64],
    grams: NDArray[np.uint64],
    ends: NDArray[np.int64],
    spaces: NDArray[np.int64],
    n: int,
) -> int:
    """Characters in all occurrences of the commonest n-gram, with the spaces inside it; the first one counts
    where several are as common, so where nothing repeats too. Takes what `repeated_ngrams` gives, and the
    characters and the spaces up to each word.
    """
    if len(ends) < n:
        return 0
    if not len(positions):
        return _characters(ends, 0, n) + int(spaces[n - 1] - spaces[0])
    order = np.argsort(grams, kind="stable")
    ranked = grams[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    counts = np.diff(np.append(starts, len(ranked)))
    first = int(positions[order[starts[counts == counts.max()]]].min())
    size = _characters(ends, first, n) + int(spaces[first + n - 1] - spaces[first])
    return size * int(counts.max())


def duplicate_ngrams(
    positions: NDArray[np.int64], grams: NDArray[np.uint64], ends: NDArray[np.int64], n: int
) -> int:
    """Characters in n-grams that occurred before. After a hit the scan goes on behind it, so nothing counts
    twice; what it jumps over does not count as having occurred. Takes what `repeated_ngrams` gives."""
    starts = np.concatenate([np.zeros(1, np.int64), ends])
    sizes = (ends[positions + n - 1] - starts[positions]).tolist()
    seen: set[int] = set()
    size, resume = 0, 0
    for position, gram, characters in zip(positions.tolist(), grams.tolist(), sizes, strict=True):
        if position < resume:
            continue
        if gram in seen:
            size += characters
            resume = position + n
        else:
            seen.add(gram)
    return size


def _characters(ends: NDArray[np.int64], start: int, n: int) -> int:
    return int(ends[start + n - 1]) - (int(ends[start - 1]) if start else 0)
