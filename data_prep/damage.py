"""Files of finished parts that are there, of the right size, and cannot be read: a disk forgot some of them.

Looked for only where a part or a step has failed, so that a run in which all is well reads nothing twice. A
damaged part loses its mark: it counts as not done and is made again.
"""

import errno
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.contract.settings import InputError

CHUNK = 1 << 20


class DamagedPartError(InputError):
    """A part's file cannot be read; its mark is gone."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: damaged, and again after it was made once more; this disk loses data")
        self.path = path


def first_damaged(paths: Iterable[Path]) -> Path | None:
    """The first of these tables (Parquet, npy) that does not open, or whose columns cannot be decoded."""
    return next((path for path in sorted(paths) if path.is_file() and not _readable(path)), None)


def _readable(path: Path) -> bool:
    try:
        if path.suffix == ".parquet":
            pq.read_table(path)
        elif path.suffix == ".npy":
            np.load(path, mmap_mode="r")
    except OSError as error:
        # pyarrow's has no number where a table is junk; no room or no right is no damage
        return error.errno not in (None, errno.EIO)
    except (pa.ArrowException, ValueError, EOFError, SyntaxError):  # what the two raise for junk
        return False
    return True


def sum_of(path: Path) -> int:
    """The CRC-32 of a file."""
    found = 0
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            found = zlib.crc32(piece, found)
    return found


def mark_of(path: Path) -> Path:
    """The mark of the part that a file belongs to: parts/STEP/NAME.json for parts/STEP/NAME.SUFFIX."""
    return path.with_name(f"{path.name.split('.')[0]}.json")
