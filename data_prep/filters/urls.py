"""The blocklist of URLs."""

from functools import cache
from pathlib import Path
from urllib.parse import urlsplit


@cache
def read_blocklist(path: Path) -> frozenset[str]:
    """The entries of a file, a line each; `#` begins a comment."""
    lines = (line.partition("#")[0].strip().lower() for line in path.read_text().splitlines())
    return frozenset(
        line.removeprefix("http://").removeprefix("https://").rstrip("/") for line in lines if line
    )


def blocked(url: str, entries: frozenset[str]) -> bool:
    """Whether an entry is the URL's host, a domain above it, or the host with the beginning of the path."""
    try:
        parts = urlsplit(url.lower())
        host = parts.hostname or ""
    except ValueError:
        return False
    labels = host.split(".")
    if any(".".join(labels[start:]) in entries for start in range(len(labels))):
        return True
    prefix = host
    for segment in parts.path.strip("/").split("/"):
        prefix += "/" + segment
        if prefix in entries:
            return True
    return False
