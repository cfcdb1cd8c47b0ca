"""Files from outside, opened and called by a name that may be shown."""

import stat
from pathlib import Path
from typing import IO

from data_prep.contract.names import shown
from data_prep.contract.settings import InputError

Where = str | Path


def read_bytes(source: Path | bytes, where: Where = "", *, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; bytes are its content already.

    `InputError` where there is none such, or a larger one. `where` is what its sentence calls the content.
    """
    name = called(source, where)
    if isinstance(source, Path):
        with opened(source, where) as file:
            try:
                source = file.read(limit + 1)
            except OSError as error:
                raise InputError(f"{name}: cannot be read ({error.strerror or error})") from None
    if len(source) > limit:
        raise InputError(f"{name}: larger than {limit:,} bytes, which is the limit")
    return source


def opened(path: Path, where: Where = "") -> IO[bytes]:
    """A regular file, open; `InputError` where there is none."""
    name = called(path, where)
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
        file = path.open("rb") if regular else None
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:  # a name with a NUL in it is a ValueError
        raise InputError(f"{name}: cannot be read ({error})") from None
    if file is None:
        raise InputError(f"{name}: no regular file")
    return file


def called(source: object, where: Where = "") -> str:
    """What a sentence calls some content: `where`, else its path."""
    return shown(str(where or (source if isinstance(source, Path) else "input")))
