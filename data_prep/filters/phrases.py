"""Words and phrases of a list, such as bad words, found where they stand alone in a text."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from data_prep.contract.settings import InputError
from data_prep.filters.scripts import IS_UNSPACED, MARKS, UNSPACED
from data_prep.filters.words import without_formats

_STARTS = rf"(?:(?<![\w{MARKS}])|(?<=[{UNSPACED}]))"
_ENDS = rf"(?:(?![\w{MARKS}])|(?=[{UNSPACED}]))"


def read_list(path: Path) -> list[str]:
    """The lines of a file that are not empty. Raises `InputError` where it is no text in UTF-8."""
    try:
        lines = unicodedata.normalize("NFC", path.read_text(encoding="utf-8-sig")).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); a text file in UTF-8 is expected") from error
    return [line for line in map(str.strip, lines) if line]


class Phrases:
    """Phrases, case left out, that are no part of a longer word.

    In a script without spaces one may begin and end anywhere, as in the code of C4 for Chinese and Japanese.
    """

    def __init__(self, phrases: Iterable[str]) -> None:
        found = {phrase for line in phrases if (phrase := without_formats(line.lower()).strip())}
        kinds = sorted(found, key=_borders)
        self._patterns = [
            re.compile(starts + _any_of(sorted(group)) + ends)
            for (starts, ends), group in groupby(kinds, _borders)
        ]

    def count(self, text: str) -> int:
        """How often any of them occurs."""
        text = without_formats(text.lower())
        return sum(sum(1 for _ in pattern.finditer(text)) for pattern in self._patterns)


def _borders(phrase: str) -> tuple[str, str]:
    """What has to hold before and after a phrase."""
    first, last = (bool(IS_UNSPACED.match(edge)) for edge in (phrase[0], phrase[-1]))
    return "" if first else _STARTS, f"(?![{MARKS}])" if last else _ENDS


def _any_of(phrases: Sequence[str]) -> str:
    """A pattern of any of these phrases, in which each letter is looked at once: `b(?:ad|it)`."""
    same = [len({*letters}) == 1 for letters in zip(*phrases, strict=False)]
    prefix = phrases[0][: [*same, False].index(False)]
    tails = [phrase[len(prefix) :] for phrase in phrases]
    branches = [_any_of([*group]) for _, group in groupby(filter(None, tails), lambda tail: tail[0])]
    if not branches:
        return re.escape(prefix)
    return f"{re.escape(prefix)}(?:{'|'.join(branches)}){'' if all(tails) else '??'}"
