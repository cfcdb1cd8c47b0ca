"""The format of pictures: what stock readers find in the tars, and how long a large table takes to open."""

from pathlib import Path

import numpy as np
import webdataset

from data_prep.contract.pictures import SAMPLE_ROW, ImageDataset, PictureShard, holds_pictures, write_manifest
from data_prep.contract.shapes import SHAPES
from tests.pictures import drawn, write_pictures


def test_a_stock_reader_finds_picture_caption_class_and_facts(tmp_path: Path) -> None:
    write_pictures(tmp_path, 12, 3)
    tars = [str(path) for path in sorted((tmp_path / "train").glob("*.tar"))]
    found = list(webdataset.WebDataset(tars, shardshuffle=False).decode("rgb8"))
    dataset = ImageDataset(tmp_path)
    assert len(found) == 12 == len(dataset.rows("train"))
    for number, sample in enumerate(found):
        image, captions = dataset.sample("train", number)
        assert sample["png"].shape == (32, 32, 3)
        assert sample["txt"].split("\n") == captions == list(drawn(1, "train", number).captions)
        assert sample["cls"] == dataset.rows("train")[number]["label"]
        assert sample["json"]["id"] == f"{int(dataset.rows('train')[number]['id']):016x}"
        assert image.startswith(b"\x89PNG")


def test_the_bytes_of_a_dataset_depend_on_its_pictures_alone(tmp_path: Path) -> None:
    one, other = (write_pictures(tmp_path / name, 9, 2) for name in ("one", "other"))
    for path in sorted(one.rglob("*.*")):
        assert path.read_bytes() == (other / path.relative_to(one)).read_bytes()
    assert holds_pictures(one)
    assert not holds_pictures(tmp_path)


def test_a_million_rows_are_looked_at_and_not_read_one_by_one(tmp_path: Path) -> None:
    """What opening costs is a few passes over arrays; the benchmark says how many seconds that is."""
    count, shards = 1_000_000, 50
    table = np.zeros(count, SAMPLE_ROW)
    table["shard"] = np.repeat(np.arange(shards), count // shards)
    written = [
        (
            PictureShard(
                path=f"train/shard-{index:05d}.tar", bytes=10**6, sha256="", samples=count // shards
            ),
            table[index * (count // shards) : (index + 1) * (count // shards)],
        )
        for index in range(shards)
    ]
    write_manifest(tmp_path, {"train": written, "validation": []}, ["image"], SHAPES, {"version": 1}, {})
    dataset = ImageDataset(tmp_path)
    assert dataset.split("train").total("samples") == count == len(dataset.rows("train"))
    assert isinstance(dataset.rows("train"), np.memmap)
    assert dataset.blocks("train").sum() == count
