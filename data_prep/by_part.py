"""Files of rows sorted by part: where each part's rows lie, so that a part reads those and no others.

places = Places([drops], DROP)                    on the driver, where the files are
part.arguments["drops"] = places.of(7)            [{"path": ..., "start": 128, "stop": 256}], plain data
rows_at(storage, drops, DROP)                     in the part: just these bytes, wherever the file lies
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.storage import Storage

PLACE = np.dtype([("part", "<u4"), ("file", "<u4"), ("start", "<i8"), ("stop", "<i8")])
Slices = list[dict[str, Any]]
"""Pieces of files: `path`, and the bytes [`start`, `stop`) of it."""


class Places:
    """Where the rows of each part are in files on this machine; a field `part` says whose they are.

    What is held grows with the parts that have rows, however many files there are.
    """

    def __init__(self, paths: Sequence[Path], dtype: np.dtype[Any]) -> None:
        self.paths, self.dtype = paths, dtype
        self.here = Storage(paths[0].parent if paths else Path())
        """The files as they are on this machine."""
        found = [np.empty(0, PLACE)]
        self.rows = 0
        for number, path in enumerate(paths):
            rows = np.load(path, mmap_mode="r")
            if not len(rows):
                continue
            self.rows += len(rows)
            parts, firsts = np.unique(rows["part"], return_index=True)
            places = np.empty(len(parts), PLACE)
            header = path.stat().st_size - rows.nbytes
            places["part"], places["file"] = parts, number
            places["start"] = header + firsts * dtype.itemsize
            places["stop"] = header + np.append(firsts[1:], len(rows)) * dtype.itemsize
            found.append(places)
        self._places = np.sort(np.concatenate(found), order=["part", "file"])

    def of(self, part: int) -> Slices:
        """The pieces with the rows of one part."""
        first, last = np.searchsorted(self._places["part"], [part, part + 1])
        return [
            {"path": self.paths[file], "start": start, "stop": stop}
            for _, file, start, stop in self._places[first:last].tolist()
        ]


def rows_at(storage: Storage, slices: Sequence[Mapping[str, Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The rows in these pieces, sorted by all their fields."""
    paths, starts, stops = ([one[key] for one in slices] for key in ("path", "start", "stop"))
    found = [np.frombuffer(data, dtype) for data in storage.slices(paths, starts, stops)]
    return np.sort(np.concatenate([np.empty(0, dtype), *found]))
