"""What Unicode says of the characters that words are made of, and the scripts that leave no space between
words.

A word holds its marks and format characters (Standard Annex 29, rule WB4): without this rule a vowel sign of
Hindi or a point of Hebrew would end it. Format characters (soft hyphens, joiners, marks of direction) change
how a word is drawn and not which word it is, so they are left out.

Chinese, Japanese, Thai, Lao, Khmer, Burmese and their like are written without spaces, and a dictionary for
each would be another dependency each. Their words are estimated instead: between two letters of such a script
a word ends with a fixed share of all pairs of letters, and which pairs these are is decided by a hash of the
pair. So the number of words is right on average, and the same passage has the same words wherever it stands,
which is what repetition, near-duplicates and contamination are found by. The words themselves mean nothing.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from data_prep.filters.hashes import mix

Range = tuple[int, int]

SCRIPTS: dict[str, tuple[float, Sequence[Range]]] = {
    "Han": (0.57, (
        (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3038, 0x303C), (0x3400, 0x4DBF),
        (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF),
    )),
    "Hiragana": (0.35, ((0x3041, 0x309F), (0x1B001, 0x1B11F), (0x1F200, 0x1F200))),
    "Katakana": (0.0, ((0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F))),
    "Thai": (0.29, ((0x0E00, 0x0E7F),)),
    "Lao": (0.27, ((0x0E80, 0x0EFF),)),
    "Khmer": (0.30, ((0x1780, 0x17FF),)),
    "Myanmar": (0.33, ((0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F))),
    "Tibetan": (0.0, ((0x0F00, 0x0FFF),)),
    "others": (0.30, (
        (0x1950, 0x19DF), (0x1A20, 0x1AAF), (0x1B00, 0x1B7F), (0xA980, 0xA9DF), (0xAA80, 0xAADF),
        (0x11700, 0x1174F),
    )),
}  # fmt: skip
"""Scripts without spaces: the share of pairs of their letters between which a word ends, and where they are.

The shares are those that the dictionaries of ICU 78 find in the Universal Declaration of Human Rights and in
XQuAD: Chinese .55 to .60, Hiragana .35, Thai .29, Lao .27, Khmer .30, Burmese .33. That is 1.6, 1.6, 3.1,
3.3, 3.2 and 2.2 letters a word, marks not counted. By them the Declaration has the words that ICU finds
within 5 % (Japanese and Burmese 11 and 16 % too many). Foreign words in Katakana are not cut (rule WB13). Tai
Le, New Tai Lue, Tai Tham, Tai Viet, Ahom, Balinese and Javanese are given the value of their neighbours.
Tibetan marks where syllables end, and these stand for its words. """
HAN_TO_HIRAGANA = 0.74
"""Share of the places where a Japanese word ends before its Hiragana; other changes of script end a word."""
STACKING = (0x1039, 0x17D2, 0x1A60, 0x1B44, 0xA9C0, *range(0x0E40, 0x0E45), *range(0x0EC0, 0x0EC5))
"""What the next letter belongs to: signs that put it below, and Thai and Lao vowels written before it."""

OTHER, SPACED_LETTER, MARK, CLOSING, FIRST_SCRIPT = 0, 1, 2, 3, 4
"""Kinds of characters; from FIRST_SCRIPT on they are the letters of SCRIPTS."""
KINDS = dict.fromkeys(("Mn", "Mc", "Me", "Cf"), MARK) | dict.fromkeys(("Po", "Pe", "Pf"), CLOSING)
PIECE = 1 << 20
FIRST_PLANES, SELECTORS = 0x20000, range(0xE0000, 0xE0200)
"""Where marks and format characters are."""


def class_of(ranges: Iterable[Range]) -> str:
    """What stands between the brackets of a regular expression's set."""
    return "".join(
        f"\\U{first:08x}-\\U{last:08x}" if last > first else f"\\U{first:08x}" for first, last in ranges
    )


def _where(holds: Callable[[str], bool]) -> list[Range]:
    """The characters for which something holds, of the first two planes and of the one that has selectors."""
    found: list[Range] = []
    for point in (*range(FIRST_PLANES), *SELECTORS):
        if holds(chr(point)):
            first = found.pop()[0] if found and found[-1][1] == point - 1 else point
            found.append((first, point))
    return found


def _coarse(*classes: str) -> str:
    """Sets in one, with every character of the higher planes: a quick look for what may be there."""
    basic = re.findall(r"\\U0000[0-9a-f]{4}-\\U0000[0-9a-f]{4}|\\U0000[0-9a-f]{4}(?!-)", "".join(classes))
    return "".join(basic) + "\\U00010000-\\U0010ffff"


MARKS = class_of(_where(lambda character: unicodedata.category(character) in ("Mn", "Mc", "Me")))
ACCENTS = class_of(_where(lambda character: unicodedata.combining(character) > 0))
"""Marks that change a letter; those left out are vowels or the like, letters of their own to readers."""
FORMATS = class_of(
    _where(lambda character: unicodedata.category(character) == "Cf" and character != "\u200b")
)
SEPARATORS = "\u200b\u0f0b\u0f0c\u0fd2\u1361"
"""What stands between words as a space does: the one of no width, Tibetan's and Ethiopic's."""
UNSPACED = class_of(where for _, ranges in SCRIPTS.values() for where in ranges)
IS_UNSPACED = re.compile(f"[{UNSPACED}]")
MAYBE_MARKED = _coarse(MARKS, FORMATS, UNSPACED)
MAYBE_ACCENTED, MAYBE_UNSPACED = _coarse(ACCENTS), _coarse(FORMATS, UNSPACED)


def spaced(text: str) -> str:
    """The text with a space wherever a word is taken to end in a script without spaces; others are as they
    were."""
    if not IS_UNSPACED.search(text):
        return text
    pieces = (text[start : start + PIECE] for start in range(0, len(text), PIECE))
    return "".join(map(_spaced_piece, pieces))


def unspaced(characters: str) -> NDArray[np.bool_]:
    """Which of some characters are letters of a script without spaces."""
    points = np.frombuffer(characters.encode("utf-32-le", "surrogatepass"), "<u4")
    return _kinds()[points] >= FIRST_SCRIPT


def _spaced_piece(text: str) -> str:
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    kinds = _kinds()[points]
    letters = np.flatnonzero(kinds != MARK)  # each letter, and whatever else is no mark, with the next one
    pairs = points[letters[:-1]].astype(np.uint64) << np.uint64(32) | points[letters[1:]]
    one, other = kinds[letters[:-1]], kinds[letters[1:]]
    ends = mix(pairs) < _shares()[one, other]
    ends &= ~np.isin(points[letters[1:] - 1], STACKING)
    spread = np.insert(points, letters[1:][ends], ord(" "))
    return spread.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


@cache
def _kinds() -> NDArray[np.uint8]:
    """The kind of every code point."""
    kinds = np.zeros(0x110000, np.uint8)
    for point in range(FIRST_PLANES):
        character = chr(point)
        kinds[point] = (
            SPACED_LETTER if character.isalnum() else KINDS.get(unicodedata.category(character), OTHER)
        )
    kinds[SELECTORS.start : SELECTORS.stop] = MARK
    for number, (_, ranges) in enumerate(SCRIPTS.values(), FIRST_SCRIPT):
        for first, last in ranges:
            for point in range(first, last + 1):
                if unicodedata.category(chr(point)) in ("Lo", "Lm", "Nl"):
                    kinds[point] = number
    return kinds


@cache
def _shares() -> NDArray[np.uint64]:
    """Below which hash a word ends between two kinds of characters."""
    size = FIRST_SCRIPT + len(SCRIPTS)
    shares = np.zeros((size, size))
    shares[FIRST_SCRIPT:, SPACED_LETTER] = 1
    shares[[SPACED_LETTER, CLOSING], FIRST_SCRIPT:] = 1
    shares[FIRST_SCRIPT:, FIRST_SCRIPT:] = 1
    names = [*SCRIPTS]
    for number, (share, _) in enumerate(SCRIPTS.values(), FIRST_SCRIPT):
        shares[number, number] = share
    han, hiragana = (FIRST_SCRIPT + names.index(name) for name in ("Han", "Hiragana"))
    shares[han, hiragana] = HAN_TO_HIRAGANA
    return np.minimum(shares * 2.0**64, float(2**64 - 2048)).astype(np.uint64)
