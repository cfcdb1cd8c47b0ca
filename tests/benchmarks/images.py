"""How many pictures a second one process makes ready, beside webdataset over the very tars with the same
decoding.

    python -m tests.benchmarks.images [--at-least 0.9] [--seconds 1] [--repeats 5]

Both read JPEG from the same local shards with Pillow in one process, cut a random resized part out of each,
flip it and hand over arrays of 64; only how samples are found and put in order differs: by row of a mapped
table in an exact order here, one behind the other through a buffer of 1,000 there. Rates are by the time
that the processor worked, in turns, so that what else a machine does hits both alike. Photographs of 256
pixels are cut to 224, those of 64 to 32, where the way to a picture counts for more. Then a dataset of a
million pictures is opened: the manifest read, the table checked, the first sample of an epoch located. The
ratio is ours to the peer's at 224 pixels.
"""

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.contract.picture_shards import write_shard
from data_prep.contract.pictures import (
    NO_LABEL,
    SAMPLE_ROW,
    ImageDataset,
    Picture,
    PictureShard,
    write_manifest,
)
from data_prep.contract.pixels import VERSION
from pipeline.config import ViewConfig
from pipeline.data.images.stream import ImageStream
from pipeline.data.images.views import Draws, training_view
from tests.benchmarks.loader import machine

BATCH = 64
VIEW = ViewConfig()
SIZES = {64: (32, 4_000), 256: (224, 1_500)}
"""Sides of the photographs: what they are cut to, and how many there are."""
MILLION, SHARDS = 1_000_000, 100


def photograph(number: int, side: int) -> bytes:
    """A JPEG with as much detail as one of a camera."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (side // 16, side // 16, 3), np.uint8))
    fine = rng.normal(0, 12, (side, side, 3))
    pixels = np.clip(np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)) + fine, 0, 255)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def write_photographs(folder: Path, side: int, count: int) -> None:
    """A dataset of photographs in four shards; few different ones, since only their number costs time."""
    different = [photograph(number, side) for number in range(100)]
    pictures = [Picture(different[number % 100], "jpg", side, side, number) for number in range(count)]
    shards = [write_shard(folder, "train", index, pictures[index::4]) for index in range(4)]
    write_manifest(folder, {"train": shards, "validation": []}, ["image"], [], {"version": VERSION}, {})


def ours(folder: Path, size: int) -> Iterator[int]:
    """Batches of the exact stream; yields how many pictures each has."""
    stream = ImageStream(ImageDataset(folder), "train", VIEW, size, seed=1)
    start = 0
    while True:
        yield len(stream.samples(start + np.arange(BATCH)).pixels)
        start += BATCH


def theirs(folder: Path, size: int) -> Iterator[int]:
    """The same by webdataset's reader, shuffle and decoder."""
    import webdataset

    tars = [str(path) for path in sorted((folder / "train").glob("*.tar"))]
    rng = np.random.default_rng(2)
    while True:
        samples = (
            webdataset.WebDataset(tars, shardshuffle=False).shuffle(1000).decode("pilrgb").to_tuple("jpg")
        )
        images: list[Image.Image] = []
        for (image,) in samples:
            images.append(image)
            if len(images) == BATCH:
                draws = Draws.of(rng.integers(0, 1 << 63, BATCH).astype(np.uint64), VIEW)
                pixels = np.stack(
                    [training_view(one, VIEW, size, draws, row) for row, one in enumerate(images)]
                )
                yield len(pixels)
                images = []


def rates(sources: dict[str, Iterator[int]], seconds: float, repeats: int) -> dict[str, list[float]]:
    """Pictures a second of the processor's time of each, `repeats` times in turns."""
    found: dict[str, list[float]] = {name: [] for name in sources}
    for source in sources.values():
        next(source)
    for _ in range(repeats):
        for name, source in sources.items():
            count, started = 0, time.process_time()
            while (elapsed := time.process_time() - started) < seconds:
                count += next(source)
            found[name].append(count / elapsed)
    return found


def seconds_to_open(folder: Path) -> float:
    """Open a dataset of a million pictures and find where the first sample of an epoch lies; the best of
    three."""
    table = np.zeros(MILLION, SAMPLE_ROW)
    table["label"] = NO_LABEL
    each = MILLION // SHARDS
    table["id"], table["shard"] = np.arange(MILLION), np.repeat(np.arange(SHARDS), each)
    shards = [
        (
            PictureShard(path=f"train/shard-{index:05d}.tar", bytes=10**9, sha256="0" * 64, samples=each),
            table[index * each : (index + 1) * each],
        )
        for index in range(SHARDS)
    ]
    write_manifest(folder, {"train": shards, "validation": []}, ["image"], [], {"version": VERSION}, {})
    found = []
    for _ in range(3):
        started = time.perf_counter()
        ImageStream(ImageDataset(folder), "train", VIEW, 224, seed=1).locate(np.arange(BATCH))
        found.append(time.perf_counter() - started)
    return min(found)


def main() -> None:
    """Print the table and the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--at-least", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print(machine())
    ratio = 0.0
    with tempfile.TemporaryDirectory() as name:
        for side, (size, count) in SIZES.items():
            folder = Path(name) / str(side)
            write_photographs(folder, side, count)
            sources = {"exact stream": ours(folder, size), "webdataset": theirs(folder, size)}
            found = rates(sources, given.seconds, given.repeats)
            reference = statistics.median(found["webdataset"])
            for label, values in found.items():
                median, low, high = statistics.median(values), min(values), max(values)
                print(
                    f"{label:14} {side:>4} to {size:>3} pixels {median:>9,.0f}/s  "
                    f"{low:>9,.0f} to {high:>9,.0f}  {median / reference:>6.2f}"
                )
            ratio = statistics.median(found["exact stream"]) / reference
        print(f"a million pictures are open after {seconds_to_open(Path(name) / 'million'):.3f} s")
    print(f"images ratio={ratio:.2f}")
    if ratio < given.at_least:
        sys.exit(1)


if __name__ == "__main__":
    main()
