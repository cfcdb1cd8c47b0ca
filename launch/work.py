"""Where a recipe's stages keep what they make."""

import re
from pathlib import Path
from typing import Protocol


class Named(Protocol):
    """A recipe, or the configuration of one of its stages."""

    @property
    def name(self) -> str:
        """The recipe's name."""


def work_folder(config: Named, given: str | Path | None) -> Path:
    """The folder that the command names, or runs/NAME under the one it stands in.

    For an address it is a folder under runs/ that is named after it: the dataset lies at the address, what
    other stages make in the folder.
    """
    if given is None:
        return Path("runs") / config.name
    if work_address(given):
        return Path("runs") / re.sub(r"[^\w.-]+", "-", str(given).partition("://")[2]).strip("-")
    return Path(given)


def work_address(given: str | Path | None) -> str:
    """The address that the command names, such as s3://bucket/folder; empty for a folder."""
    return str(given).rstrip("/") if given is not None and "://" in str(given) else ""
