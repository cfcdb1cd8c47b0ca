"""IDX, the format of MNIST and of sets that look like it: one file of pictures, one of their labels.

The header is two zero bytes, the type of the values (8: unsigned bytes), the number of dimensions, and the
size of each as four bytes, the largest first.
"""

import math
import re
import struct
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
from PIL import Image

from data_prep.documents import Failure
from data_prep.images.config import ImagesConfig
from data_prep.images.handling import encoded
from data_prep.images.sources.folders import whole
from data_prep.images.sources.items import Found, Input, Item, label_in
from data_prep.sources.files import InputFile
from data_prep.sources.remote import here
from data_prep.sources.streams import damage, damage_errors, open_stream

UNSIGNED = 8
MOST_LABELS = 1 << 28
_PICTURES = re.compile(r"images[-.]idx[34]-ubyte")


def read(one: Input, config: ImagesConfig) -> Iterator[Item]:
    """Every picture of a file, grey or of three colours, with its label."""
    labels = _labels(one, config)
    if isinstance(labels, Failure):
        yield labels
        return
    name, number = one.file.name, 0
    try:
        with open_stream(one.file.path) as stream:
            sizes = _header(stream)
            if len(sizes) not in (3, 4) or (len(sizes) == 4 and sizes[3] != 3) or not math.prod(sizes[1:]):
                yield Failure(name, 0, "no pictures in IDX", f"sizes {sizes}")
                return
            size = math.prod(sizes[1:])
            if size > config.pixels.most_pixels * 3:
                yield Failure(name, 0, "too many pixels", f"sizes {sizes}")
                return
            for number in range(sizes[0]):
                values = stream.read(size)
                if len(values) < size:
                    yield Failure(name, number, "damaged file", f"{number} of {sizes[0]} pictures")
                    return
                image = Image.fromarray(np.frombuffer(values, np.uint8).reshape(sizes[1:])).convert("RGB")
                label = label_in(labels[number], config.class_names) if number < len(labels) else ""
                yield Found(name, number, encoded(image, "PNG", 0), (), label)
            stream.read(1)  # a file of members is read to the end of its last one
    except ValueError as error:
        yield Failure(name, number, "damaged file", str(error))
    except damage_errors() as error:
        yield damage(name, number, error)


def _labels(one: Input, config: ImagesConfig) -> list[int] | Failure:
    if one.beside is None:
        return []
    with here(one.beside) as local:
        content = whole(local, MOST_LABELS)
    if isinstance(content, Failure):
        return content
    if content[:4] != bytes((0, 0, UNSIGNED, 1)) or len(content) < 8:
        return Failure(one.beside.name, 0, "no labels in IDX", content[:4].hex())
    return list(content[8 : 8 + struct.unpack(">I", content[4:8])[0]])


def _header(stream: IO[bytes]) -> tuple[int, ...]:
    """The size of each dimension. ValueError where this is no file of unsigned bytes."""
    start = stream.read(4)
    if len(start) < 4 or start[:3] != bytes((0, 0, UNSIGNED)) or not 0 < start[3] < 8:
        raise ValueError(f"no IDX file of unsigned bytes: it begins with {start.hex()}")
    rest = stream.read(4 * start[3])
    if len(rest) < 4 * start[3]:
        raise ValueError("its header is cut off")
    return struct.unpack(f">{start[3]}I", rest)


def paired(files: Sequence[InputFile]) -> list[Input]:
    """Every file of pictures with the labels that are called like it."""
    known = {file.path: file for file in files}
    return [
        Input(file, known.get(_PICTURES.sub("labels-idx1-ubyte", file.path)))
        for file in files
        if _PICTURES.search(file.name)
    ]
