"""What a word is, in any language: the one definition that filters, near-deduplication, decontamination and
lists of bad words share; and a document's words, lines and paragraphs, split once for all filters.

A word is a run of letters and digits with the marks on them and the apostrophes and hyphens between them;
each run of other visible characters is a word of its own, a symbol. Where a script has no spaces words are
estimated (see `scripts`). So counts, lengths and n-grams of words mean the same in every script."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data_prep.filters.hashes import mix, ngram_hashes
from data_prep.filters.scripts import (
    ACCENTS,
    FORMATS,
    IS_UNSPACED,
    MARKS,
    MAYBE_ACCENTED,
    MAYBE_MARKED,
    MAYBE_UNSPACED,
    SEPARATORS,
    spaced,
    unspaced,
)

# Possessive, so that a word of millions of letters keeps no way back for each of them.
PLAIN_WORD = re.compile(r"\w++(?:['\u2019-]\w++)*+|[^\w\s]++")
"""The same words, found faster, in texts without anything of `_UNUSUAL`."""
_LETTERS = rf"\w[\w{MARKS}]*+"
_INNER = (
    "(?:['\u2019\u2010\u2011\u055a-\u055c\u055e-]"  # Armenian puts its marks of tone inside a word
    "|(?<=[lL])\u00b7(?=[lL])"  # Catalan
    '|(?<=[\u05d0-\u05ea])["\u05f3\u05f4](?=[\u05d0-\u05ea]))'  # Hebrew abbreviations: rules WB7a to WB7c
)
WORD = re.compile(rf"{_LETTERS}(?:{_INNER}{_LETTERS})*+|[^\w\s]++")
_RUN, _ASCII_RUN = re.compile(_LETTERS), re.compile(rb"[a-z0-9]+")
_TO_SEPARATE = re.compile(f"[{MAYBE_UNSPACED}{SEPARATORS}]")
_UNUSUAL = re.compile(f"[{MAYBE_MARKED}{SEPARATORS}\u00b7\u2010\u2011\u0530-\u05ff]")
_FORMATS, _SEPARATORS = re.compile(f"[{FORMATS}]"), re.compile(f"[{SEPARATORS}]")
FIRST_SYLLABLE, FINALS = 0xAC00, 28
_HANGUL = re.compile("[\uac00-\ud7a3]")
_COMPOSED, _ACCENTS = re.compile(f"[\uac00-\ud7a3{MAYBE_ACCENTED}]"), re.compile(f"[{ACCENTS}]")
_LINE_BREAKS, _PARAGRAPH_BREAKS = re.compile(r"\n+"), re.compile(r"\n{2,}")


def words_of(text: str) -> list[str]:
    """The words of a text in order, symbols among them: `["don't", "stop", "..."]`."""
    plain = text.isascii() or not _UNUSUAL.search(text)
    return PLAIN_WORD.findall(text) if plain else WORD.findall(separated(text))


def separated(text: str) -> str:
    """The text without format characters, and with a space after every word where the script has none."""
    return text if text.isascii() or not _TO_SEPARATE.search(text) else spaced(without_formats(text))


def without_formats(text: str) -> str:
    """The text without format characters; what separates words as a space does becomes one."""
    return text if text.isascii() else _SEPARATORS.sub(" ", _FORMATS.sub("", text))


def letters_in(words: Sequence[str]) -> int:
    """The length of words in letters: marks that change a letter are none, so that a decomposed é is one
    letter, and a syllable of Hangul is two or three."""
    together = "".join(words)
    if together.isascii() or not _COMPOSED.search(together):
        return len(together)
    syllables = [ord(syllable) - FIRST_SYLLABLE for syllable in _HANGUL.findall(together)]
    inner = sum(
        1 if syllable % FINALS == 0 else 2 for syllable in syllables
    )  # its vowel, and a last consonant
    return len(_ACCENTS.sub("", together)) + inner


@dataclass(frozen=True)
class Parsed:
    """A text and what filters look at in it."""

    text: str
    words: list[str]

    @classmethod
    def of(cls, text: str) -> "Parsed":
        return cls(text, words_of(text))

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
    def estimated(self) -> NDArray[np.bool_]:
        """Which of the words are estimates."""
        if self.text.isascii() or not IS_UNSPACED.search(self.text):
            return np.zeros(len(self.words), bool)
        return unspaced("".join([word[0] for word in self.words]))

    @cached_property
    def spaces(self) -> NDArray[np.int64]:
        """Spaces before each word, were the text written with one between any two; estimates have none."""
        return np.cumsum(~self.estimated, dtype=np.int64)

    @cached_property
    def word_ids(self) -> NDArray[np.uint64]:
        """A number per word, the same for equal words."""
        known: dict[str, int] = {}
        return np.array([known.setdefault(word, len(known)) for word in self.words], np.uint64)

    @cached_property
    def word_ends(self) -> NDArray[np.int64]:
        """Characters in the words up to each one, that one included."""
        return np.cumsum(np.array([*map(len, self.words)], np.int64))


def shingles(text: str, ngram: int, whole: bool = True) -> NDArray[np.uint64]:
    """A hash of each of the text's n-grams of words in a row, the same on every machine.

    Case and symbols do not count, nor do those within a word. A text of fewer words is one gram where `whole`
    is set, else none.
    """
    text = text.lower()
    if text.isascii():
        words = _ASCII_RUN.findall(text.encode())  # the same words, found and hashed faster
    else:
        runs = _RUN.findall(separated(text).replace("_", " "))
        words = [word.encode("utf-8", "surrogatepass") for word in runs]
    hashes = mix(np.array([*map(zlib.crc32, words)], np.uint64))
    return ngram_hashes(hashes, min(ngram, max(len(words), 1)) if whole else ngram)
