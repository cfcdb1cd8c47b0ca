"""A shard is the pictures whose keys fall into its range, in the order of their keys."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.contract.picture_shards import write_shard
from data_prep.contract.pictures import NO_LABEL, Picture
from data_prep.contract.questions import parsed
from data_prep.documents import write_array
from data_prep.shards.build import key_range, key_rows
from data_prep.storage import Storage

VERSION = 2


def build(
    output: Path,
    storage: Storage,
    split: str,
    number: int,
    shard: int,
    shards: int,
    classes: list[str],
    asked: bool,
    kept: list[Path],
    indexes: list[Path],
    pictures: list[Path],
    data: list[Path],
) -> dict[str, Any]:
    """Write one shard of a split, the `number`-th; its rows of the table of samples go beside the part."""
    keys = key_range(shard, shards)
    rows = [_in_range(path, number, keys) for path in indexes]
    order = np.concatenate([np.zeros(0, _PLACE), *(_places(part, found) for part, found in enumerate(rows))])
    order = np.sort(order, order=["key", "id"])
    labels = {name: index for index, name in enumerate(classes)}
    tables = {
        part: _Table(kept[part], pictures[part], found) for part, found in enumerate(rows) if len(found)
    }

    def each() -> Iterator[Picture]:
        for place in order:
            part = int(place["part"])
            start, size = int(place["start"]), int(place["bytes"])
            [content] = storage.slices([data[part]], [start], [start + size])
            yield tables[part].picture(int(place["row"]), content, labels)

    entry, table = write_shard(storage.folder, split, shard, each(), asked)
    write_array(output.with_suffix(".samples.npy"), table)
    return {"shard": entry.model_dump()}


_PLACE = np.dtype(
    [("key", "<u8"), ("id", "<u8"), ("part", "<u4"), ("row", "<u4"), ("start", "<u8"), ("bytes", "<u4")]
)


def _in_range(path: Path, number: int, keys: tuple[int, int]) -> NDArray[Any]:
    index = np.load(path, mmap_mode="r")
    first, last = key_rows(index, number, keys)
    return np.array(index[first:last])


def _places(part: int, rows: NDArray[Any]) -> NDArray[Any]:
    found = np.empty(len(rows), _PLACE)
    for name in ("key", "id", "row", "start", "bytes"):
        found[name] = rows[name]
    found["part"] = part
    return found


class _Table:
    """What is known of the kept pictures of a part; only the rows that are wanted stay in memory."""

    def __init__(self, kept: Path, pictures: Path, rows: NDArray[Any]) -> None:
        wanted = np.sort(rows["row"]).tolist()
        table = pq.read_table(kept).take(wanted)
        about = pq.read_table(pictures, columns=["suffix", "width", "height", "offset"])
        about = about.take(table["row"].combine_chunks())
        columns = zip(wanted, table.to_pylist(), about.to_pylist(), strict=True)
        self.rows: Mapping[int, dict[str, Any]] = {row: one | other for row, one, other in columns}

    def picture(self, row: int, content: bytes, labels: Mapping[str, int]) -> Picture:
        """One of the pictures."""
        told = self.rows[row]
        captions: Sequence[str] = told["text"].split("\n") if told["text"] else ()
        return Picture(
            image=content,
            suffix=told["suffix"],
            width=told["width"],
            height=told["height"],
            id=told["id"],
            captions=captions,
            label=labels.get(told["label"], NO_LABEL),
            about={"source": told["source"], "url": told["url"]},
            questions=parsed(told["questions"].encode(), "questions") if told["questions"] else (),
        )
