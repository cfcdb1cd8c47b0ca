"""A document's words, lines and paragraphs, split once for all filters.

The word rule is part of every filter's definition: a word is a run of letters and digits with the apostrophes
and hyphens inside it; each run of other visible characters is a word of its own, a symbol.
"""

import re
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

WORD = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]+")
LETTERS, ASCII_LETTERS = re.compile(r"[^\W_]+"), re.compile(rb"[a-z0-9]+")
_LINE_BREAKS, _PARAGRAPH_BREAKS = re.compile(r"\n+"), re.compile(r"\n{2,}")


@dataclass(frozen=True)
class Parsed:
    """A text and what filters look at in it."""

    text: str
    words: list[str]

    @classmethod
    def of(cls, text: str) -> "Parsed":
        return cls(text, WORD.findall(text))

    @cached_property
    def lines(self) -> list[str]:
        """Lines as they are, the empty ones too."""
        return self.text.splitlines()

    @cached_property
    def full_lines(self) -> list[str]:
        """What runs of line ends separate."""
        return _LINE_BREAKS.split(self.text)

    @cached_property
    def paragraphs(self) -> list[str]:
        """What blank lines separate."""
        return _PARAGRAPH_BREAKS.split(self.text.strip())

    @cached_property
    def word_ids(self) -> NDArray[np.uint64]:
        """A number per word, the same for equal words."""
        known: dict[str, int] = {}
        return np.array([known.setdefault(word, len(known)) for word in self.words], np.uint64)

    @cached_property
    def word_ends(self) -> NDArray[np.int64]:
        """Characters in the words up to each one, that one included."""
        return np.cumsum(np.array([*map(len, self.words)], np.int64))


BASE = np.uint64(0x9E3779B97F4A7C55)
"""Multiplier of polynomial hashes: the order of words counts."""


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread numbers over 64 bits (the finaliser of splitmix64), so that sums of them rarely agree."""
    values = (values + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def ngram_hashes(hashes: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """A 64-bit hash of every n words in a row, from a hash per word: a polynomial modulo 2^64."""
    count = len(hashes) - n + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    result = hashes[:count].copy()
    for offset in range(1, n):
        result *= BASE
        result += hashes[offset : offset + count]
    return mix(result)


def shingles(text: str, ngram: int, whole: bool = True) -> NDArray[np.uint64]:
    """A hash of each of the text's n-grams of words in a row, the same on every machine.

    Case and symbols do not count. A text of fewer words is one gram where `whole` is set, else none.
    """
    text = text.lower()
    if text.isascii():
        words = ASCII_LETTERS.findall(text.encode())  # the same words, found and hashed faster
    else:
        words = [word.encode("utf-8", "surrogatepass") for word in LETTERS.findall(text)]
    hashes = mix(np.array([*map(zlib.crc32, words)], np.uint64))
    return ngram_hashes(hashes, min(ngram, max(len(words), 1)) if whole else ngram)
