"""The first step: the files of a part become stored pictures, and what gave none is kept with its reason.

<name>.pictures.bin         the files of the stored pictures, one behind the other
<name>.pictures.parquet     PICTURE_SCHEMA, a row a picture
<name>.signals.npy          SIGNAL, a row a picture: what duplicates are found by
<name>.failures.parquet     FAILURE_SCHEMA
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data_prep.account import Account
from data_prep.cleaning import clean, clean_address
from data_prep.collect import TableFile, failed
from data_prep.contract.pictures import TRAIN
from data_prep.contract.pixels import PictureError
from data_prep.contract.questions import written
from data_prep.documents import FAILURE_SCHEMA, Failure, Passed, hash64, write_array
from data_prep.images.config import ImagesConfig
from data_prep.images.handling import stored
from data_prep.images.hashes import SIGNAL, signal
from data_prep.images.rules import COLUMNS, cleaned, cleaned_questions
from data_prep.images.sources import Input, read
from data_prep.images.sources.items import Found
from data_prep.sources.files import InputFile
from data_prep.sources.remote import here
from data_prep.sources.streams import metered

VERSION = 2

PICTURE_SCHEMA = pa.schema(
    [
        ("id", pa.uint64()),
        ("source", pa.string()),
        ("offset", pa.int64()),
        ("url", pa.string()),
        ("split", pa.string()),
        ("captions", pa.list_(pa.string())),
        ("label", pa.string()),
        ("questions", pa.string()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("suffix", pa.string()),
        ("start", pa.int64()),
        ("bytes", pa.int64()),
    ]
)


def collect(output: Path, inputs: list[dict[str, Any]], images: dict[str, Any]) -> dict[str, Any]:
    """Read a part's files. Its counts say what became of each record and of each byte (`account`)."""
    config = ImagesConfig.model_validate(images)
    pictures = TableFile(output.with_suffix(".pictures.parquet"), PICTURE_SCHEMA)
    failures = TableFile(output.with_suffix(".failures.parquet"), FAILURE_SCHEMA)
    account, signals, size = Account(), [], 0
    having: Counter[str] = Counter()
    data = output.with_suffix(".pictures.bin")
    temporary = data.with_name(f".{data.name}.tmp")
    with temporary.open("wb") as file:
        for one, item in read_all([_input(told) for told in inputs], config, account):
            made = picture(item, one.split, config, size) if isinstance(item, Found) else item
            if isinstance(made, Failure):
                account.add(one.file, made)
                failures.add(failed(made), len(made.detail))
                continue
            row, content, about = made
            account.add(one.file, row)
            file.write(content)
            size += len(content)
            signals.append(about)
            pictures.add(row, 200)
            having.update({name: bool(row[column]) for name, column in COLUMNS.items()})
    temporary.replace(data)
    for table in (pictures, failures):
        table.close()
    write_array(output.with_suffix(".signals.npy"), np.array(signals, SIGNAL))
    return {"bytes": size, "having": dict(having), **account.counts()}


def _input(told: dict[str, Any]) -> Input:
    files = {name: InputFile(**told[name]) if told[name] else None for name in ("file", "beside")}
    return Input(**(told | files))


def read_all(
    inputs: list[Input], config: ImagesConfig, account: Account
) -> Iterator[tuple[Input, Found | Failure]]:
    """What the inputs hold, one after the other; what is passed over is only counted.

    A reader that leaves a file before its end says why in the last thing that it yields; where it does not,
    that is a failure: nothing is lost in silence.
    """
    for one in inputs:
        if not one.file.path:  # drawn, and not read
            yield from ((one, item) for item in read(one, config) if not isinstance(item, Passed))
            continue
        with here(one.file) as local, metered() as meter:
            item = None
            for item in read(Input(local, one.beside, one.split), config):
                if isinstance(item, Passed):
                    account.passed[item.reason] += 1
                else:
                    yield one, item
            total = Path(local.path).stat().st_size + (one.beside.size if one.beside else 0)
            left = total - meter.bytes
            if left > 0 and not isinstance(item, Failure):
                item = Failure(one.file.name, meter.bytes, "not read to its end", f"{left} bytes are left")
                yield one, item
            if item is None:
                account.passed["file without a picture"] += 1
            account.read(meter.bytes, left, item.reason if isinstance(item, Failure) else "")


def picture(
    found: Found, split: str, config: ImagesConfig, start: int
) -> tuple[dict[str, Any], bytes, Any] | Failure:
    """The row, the stored file and the signal of a picture, or why there is none."""
    try:
        made = stored(found.data, config.pixels)
    except PictureError as error:
        return Failure(found.source, found.offset, error.reason, error.detail, found.url)
    document = hash64(found.source, found.offset, found.data)
    row = {
        "id": document,
        "source": clean(found.source),
        "offset": found.offset,
        "url": clean_address(found.url),
        "split": split,
        "captions": [text for text in map(cleaned, found.captions) if text],
        "label": cleaned(found.label),
        "questions": written(cleaned_questions(found.questions)) if found.questions else "",
        "original_width": made.width,
        "original_height": made.height,
        "width": made.image.width,
        "height": made.image.height,
        "suffix": made.suffix,
        "start": start,
        "bytes": len(made.data),
    }
    return row, made.data, signal(made.image, document, split not in ("", TRAIN), made.width * made.height)
