"""Lists of files: a path or URL a line, as Common Crawl publishes them, compressed or not."""

from collections.abc import Iterator
from dataclasses import dataclass

from data_prep.contract.names import printable, shown
from data_prep.contract.settings import InputError
from data_prep.contract.utf8 import as_utf8
from data_prep.sources.files import LISTS, InputFile
from data_prep.sources.remote import here
from data_prep.sources.streams import damage_errors, open_stream

LONGEST = 10_000
"""Bytes of a line of which one may be sure that it is no path."""


@dataclass(frozen=True)
class Entry:
    """A path or URL of the corpus."""

    path: str
    where: str = ""
    """What a sentence about it begins with: the list and the line that it stands in."""


def read_list(file: InputFile, prefix: str) -> Iterator[Entry]:
    """The paths in a list, each with `prefix` before it.

    Raises `InputError`, which names the list, where it is cut off, damaged, no list, or empty.
    """
    name = shown(file.path)
    number = found = 0
    try:
        with here(file) as local, open_stream(local.path) as stream:
            lines = as_utf8(stream)
            while line := lines.readline(LONGEST):
                number += 1
                text = _entry(line, f"{name}: line {number}")
                if text:
                    found += 1
                    yield Entry(prefix + text, f"{name}: line {number}: ")
    except damage_errors() as error:
        raise InputError(f"{name}: a list of files that cannot be read ({error}); fetch it again") from error
    if not found:
        raise InputError(f"{name}: a list of files that names none")


def _entry(line: bytes, where: str) -> str:
    try:
        text = line.decode().strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 ({error.reason}); a path or URL is expected") from error
    if len(line) == LONGEST or printable(text) != text or text.startswith("<"):
        raise InputError(f"{where} is no path or URL ({printable(text)[:60]!r})")
    if text.endswith(LISTS):
        raise InputError(f"{where} names another list ({text}); lists name files, folders or globs")
    return text
