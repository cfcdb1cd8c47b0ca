"""Texts of DOS, old Macs and eastern Europe that detection takes for another encoding or for none.

What an encoding makes of bytes is unlikely where a sign is inside a word, a capital behind a small letter,
or letters of two scripts side by side: `caf‚` and `cafŽ` for what is `café` in ibm850 and macintosh. Another
encoding takes the place of the one detected where nearly all that is unlikely goes away by it.
"""

import unicodedata
from functools import cache

from data_prep.cleaning import REPLACED
from data_prep.extract.encodings import decode

CANDIDATES = (
    *("windows-1250", "iso-8859-2", "macintosh", "mac-greek", "mac-turkish", "mac-centraleurope"),
    *("ibm850", "ibm737", "ibm857", "ibm862", "ibm869"),
)
SAMPLE = 1 << 14
"""Bytes that are compared: beyond, a text does not become clearer."""
DOUBTFUL, BETTER = 0.2, 0.25
"""Unlikely characters of those beyond ASCII from which a text is doubted, and the part that may be left."""
LETTERS = 2 / 3
"""Share of letters among the characters beyond ASCII that a text of words has at least."""
IN_WORDS = frozenset("\u2018\u2019\u2011\u00ad\u00b7")
"""What stands inside a word without being a letter: apostrophes, hyphens, the Catalan dot."""


def likelier(content: bytes, name: str) -> str:
    """The candidate that makes sense of these bytes where the named encoding does not, else that one."""
    sample = content[:SAMPLE]
    high = len(sample) - len(sample.translate(None, _HIGH))
    said = _unlikely(decode(sample, name))
    if said <= DOUBTFUL * high:
        return name
    others = [(_unlikely(decode(sample, other)), other) for other in CANDIDATES]
    least, best = min(others, key=lambda one: one[0])
    return best if least <= BETTER * said and _of_letters(decode(sample, best)) else name


_HIGH = bytes(range(128, 256))


def _of_letters(text: str) -> bool:
    """Whether most of what is beyond ASCII are letters: bytes that are no text make signs of all kinds."""
    beyond = [bool(_kind(character)[0]) for character in text if not character.isascii()]
    return sum(beyond) >= LETTERS * len(beyond)


def _unlikely(text: str) -> int:
    """Characters beyond ASCII that do not fit the ones beside them."""
    kinds = [("", ""), *map(_kind, text), ("", "")]
    beside = zip(text, kinds, kinds[1:], kinds[2:], strict=False)
    return sum(not character.isascii() and not _fits(character, *three) for character, *three in beside)


Kind = tuple[str, str]
"""Case (`small`, `capital`, `none`) and script of a letter, both empty for all else."""


def _fits(character: str, before: Kind, here: Kind, behind: Kind) -> bool:
    if not here[0]:
        if character in IN_WORDS or unicodedata.combining(character):
            return True
        alone = not (before[0] and behind[0])
        return alone and character != REPLACED and unicodedata.category(character) != "Cc"
    if any(other[0] and other[1] != here[1] for other in (before, behind)):
        return False
    return not (before[0] == "small" and here[0] == "capital")


@cache
def _kind(character: str) -> Kind:
    category = unicodedata.category(character)
    case = {"Ll": "small", "Lu": "capital", "Lo": "none"}.get(category, "")
    if not case:
        return "", ""
    return case, unicodedata.name(character, "").partition(" ")[0]
