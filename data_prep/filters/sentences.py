"""Where sentences end, in any script."""

import re

ENDS = (
    "\u0589\u061d\u061e\u061f\u06d4\u0700\u0701\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965\u0f0d\u0f0e\u0f0f"
    "\u104a\u104b\u1362\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945\u1aa8\u1aa9\u1aaa\u1aab"
    "\u1b5a\u1b5b\u1b5e\u1b5f\u1c3b\u1c3c\u1c7e\u1c7f\u203c\u203d\u2047\u2048\u2049\u3002\ua4ff\ua60e\ua60f\ua6f3"
    "\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d\uaa5e\uaa5f\uaaf0\uaaf1\uabeb\ufe12\ufe15\ufe16\ufe52"
    "\ufe56\ufe57\uff01\uff0e\uff1f\uff61"
)
"""Marks that end a sentence outside of ASCII: Unicode's property Sentence_Terminal in living scripts, and
Tibetan's shad. Latin script shares its marks with file names and numbers; these end a sentence wherever they
stand."""
CLOSING = "\"'\u2019\u201d\u00bb\u203a)]\u300d\u300f\u300b\u3009\u3011\u3015\uff09\uff3d\uff02\uff07"
_MARKLESS = "\u0e01-\u0e4e\u0e81-\u0ecd"
"""Thai and Lao end a sentence with a space; no mark tells it from another break."""
_GREEK = "\u0370-\u03ff\u1f00-\u1fff"
"""Its question mark is the semicolon."""
_LATIN_END = r"""(?<![.!?])[.!?]++["'\u201d\u2019)\]]*+(?=\s|$)"""
_ASCII_END = re.compile(_LATIN_END)
_END = re.compile(
    rf"{_LATIN_END}|[{ENDS}]++[{re.escape(CLOSING)}]*+|[{_MARKLESS}](?=\s|$)|(?<=[{_GREEK}]);(?=\s|$)"
)
_MARKLESS_LETTER, _GREEK_LETTER = re.compile(f"[{_MARKLESS}]"), re.compile(f"[{_GREEK}]")


def ends_in_own_script(line: str) -> bool:
    """Whether a line ends as sentences do in scripts that have other marks than Latin, or none."""
    bare = "" if line.isascii() else line.rstrip(CLOSING)
    last = bare[-1:]
    if last == ";":
        return _GREEK_LETTER.match(bare[-2:]) is not None
    return bool(last) and (last in ENDS or _MARKLESS_LETTER.match(last) is not None)


def sentences(line: str) -> int:
    """Sentences in a line: ends of sentences, and one more where the line does not end with one."""
    count = end = 0
    for found in (_ASCII_END if line.isascii() else _END).finditer(line):
        count, end = count + 1, found.end()
    return count + (end < len(line))
