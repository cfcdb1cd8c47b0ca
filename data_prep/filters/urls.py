"""The blocklist of URLs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from data_prep.filters.phrases import read_list

LONGEST_URL, LONGEST_HOST = 8192, 255
"""Characters that are looked at; a name has at most 255 (RFC 1035)."""


@dataclass(frozen=True)
class Blocklist:
    """Hosts, domains, and beginnings of URLs below a host."""

    entries: frozenset[str]
    deepest: int
    """Slashes in the longest of them."""

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Self:
        """The entries of files, a line each; `#` begins a comment. Raises `InputError` for what is no
        text."""
        lines = (line.partition("#")[0].strip().lower() for path in paths for line in read_list(path))
        found = (line.removeprefix("http://").removeprefix("https://").rstrip("/") for line in lines if line)
        entries = frozenset(found)
        return cls(entries, max((entry.count("/") for entry in entries), default=0))

    def blocks(self, url: str) -> bool:
        """Whether an entry is the URL's host, a domain above it, or the host with the beginning of the
        path."""
        try:
            parts = urlsplit(url[:LONGEST_URL].lower())
            host = parts.hostname or ""
        except ValueError:
            return False
        labels = host[-LONGEST_HOST:].split(".")
        if any(".".join(labels[start:]) in self.entries for start in range(len(labels))):
            return True
        segments = parts.path.strip("/").split("/")[: self.deepest]
        prefixes = ("/".join([host, *segments[: depth + 1]]) for depth in range(len(segments)))
        return any(prefix in self.entries for prefix in prefixes)
