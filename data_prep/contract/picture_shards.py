"""Shards of datasets of pictures as tars, and their rows of the table of samples."""

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.pictures import ASKED_ROW, NO_LABEL, SAMPLE_ROW, Picture, PictureShard, checksum
from data_prep.contract.questions import written
from data_prep.contract.receipt import file_hash


def write_shard(
    folder: Path, split: str, index: int, pictures: Iterable[Picture], asked: bool = False
) -> tuple[PictureShard, NDArray[Any]]:
    """Write shard number `index` of a split; returns its manifest entry and its rows of the table of samples.

    `asked` says whether the dataset's fields have questions. The bytes depend on the pictures alone: no
    clock, no user, no host goes into the tar.
    """
    name = f"{split}/shard-{index:05d}.tar"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    rows: list[tuple[int, ...]] = []
    with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, picture in enumerate(pictures):
            rows.append(_add(tar, f"{index:05d}-{number:06d}", index, picture))
    row = ASKED_ROW if asked else SAMPLE_ROW
    table = np.array([one[: len(row.names or ())] for one in rows], dtype=row)
    entry = PictureShard(
        path=name, bytes=temporary.stat().st_size, sha256=file_hash(temporary), samples=len(rows)
    )
    temporary.replace(path)
    return entry, table


def _add(tar: tarfile.TarFile, key: str, shard: int, picture: Picture) -> tuple[int, ...]:
    caption = "\n".join(picture.captions).encode()
    image_offset = _add_member(tar, f"{key}.{picture.suffix}", picture.image)
    caption_offset = _add_member(tar, f"{key}.txt", caption) if picture.captions else 0
    asked = written(picture.questions).encode() if picture.questions else b""
    asked_offset = _add_member(tar, f"{key}.questions.json", asked) if asked else 0
    if picture.label != NO_LABEL:
        _add_member(tar, f"{key}.cls", str(picture.label).encode())
    about = {"id": f"{picture.id:016x}", "width": picture.width, "height": picture.height}
    _add_member(
        tar, f"{key}.json", json.dumps(about | dict(picture.about or {}), ensure_ascii=False).encode()
    )
    return (
        picture.id,
        image_offset,
        caption_offset,
        len(picture.image),
        len(caption),
        shard,
        picture.label,
        checksum(picture.image, caption, asked),
        picture.width,
        picture.height,
        asked_offset,
        len(asked),
    )


def _add_member(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Add one file; returns where its bytes start in the tar."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    start = tar.offset + tarfile.BLOCKSIZE
    tar.addfile(member, io.BytesIO(content))
    return start
