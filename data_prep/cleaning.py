"""Texts and other strings from outside, made fit for a document and for the columns of a table.

Everything here takes time that grows with the length alone, whatever the characters. Light to import.
"""

import re
import unicodedata
from functools import cache

from data_prep.contract.cleaning import clean as clean
from data_prep.contract.names import without_password

_LINE_ENDS = re.compile(r"\r\n?|[\u0085\u2028\u2029]")
_BLANK_LINES = re.compile(r"\n{3,}")
MOST_MARKS = 30
"""Combining marks behind a letter that are kept: stream-safe text (Unicode Standard Annex 15, section 13) has
no more, and putting them in order takes time that grows with the square of their number."""
REPLACED = "\ufffd"
UNREADABLE_SHARE = 0.01
"""Share of U+FFFD in a text above which it is rejected: the encoding was another one."""
UNREADABLE_FEW, UNREADABLE_IN_SHORT = 2, 0.1
"""So many may be in a shorter text, if they are no more than this share of it."""


def normalise(text: str) -> str:
    """NFC, one kind of line end, no control or zero-width characters, no trailing spaces, no empty pages.

    Indentation and single blank lines stay: they carry meaning in code, verse and documentation.
    """
    text = clean(_LINE_ENDS.sub("\n", text))
    text = unicodedata.normalize("NFC", _few_marks(text)).replace("\u00a0", " ")
    lines = [line.rstrip() for line in text.split("\n")]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n ")


def clean_detail(text: str) -> str:
    """What is said of a failure, on one line and without the secrets of addresses."""
    return without_password(" ".join(clean(text).split("\n")))


def clean_address(text: str) -> str:
    """Where a page was, as a document carries it: without the secrets that crawled addresses hold, too."""
    return without_password(" ".join(clean(text).split()))


def _few_marks(text: str) -> str:
    return text if text.isascii() else _many_marks().sub(r"\1", text)


@cache
def _many_marks() -> re.Pattern[str]:
    marks = "".join(filter(_is_mark, map(chr, range(0x300, 0x1F000))))
    return re.compile(f"([{marks}]{{{MOST_MARKS}}})[{marks}]+")


def _is_mark(sign: str) -> bool:
    """Whether a character combines, or is made of such, as some vowel signs of Tibetan are."""
    if unicodedata.combining(sign):
        return True
    parts = unicodedata.decomposition(sign)
    return (
        bool(parts)
        and "<" not in parts
        and all(unicodedata.combining(chr(int(part, 16))) for part in parts.split())
    )


def unreadable(text: str) -> str:
    """How much of a text is U+FFFD, where that is too much for a document; empty where it is not."""
    count = text.count(REPLACED)
    few = min(UNREADABLE_FEW, UNREADABLE_IN_SHORT * len(text))
    if count <= max(few, UNREADABLE_SHARE * len(text)):
        return ""
    return f"{count} of {len(text)} characters are U+FFFD"
