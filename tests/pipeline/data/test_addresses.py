"""Datasets by address where no S3 server can be had: local files through fsspec, read as if remote."""

from pathlib import Path

import numpy as np
import pytest

from data_prep.contract.settings import InputError
from pipeline.data.maker import BatchMaker
from pipeline.data.remote import RemoteDataset
from tests.pipeline import tiny
from tests.pipeline.data.corpora import random_documents, write_tokens


def test_an_address_gives_what_the_folder_gives(tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    write_tokens(folder, {"train": random_documents(60, 60, 1), "validation": random_documents(5, 60, 2)})
    config = tiny.config(
        train={"global_batch": 8, "micro_batch": 8},
        data={"sequence_length": 16, "shuffle_window": 10, "cache": tmp_path / "cache"},
    )
    here = BatchMaker(config, str(folder), 0, 1)
    there = BatchMaker(config, f"file://{folder}/", 0, 1)
    for step in (0, 5, 17):
        np.testing.assert_array_equal(there.step(step)[0]["tokens"], here.step(step)[0]["tokens"])
    dataset = there.train.streams[0].dataset
    assert isinstance(dataset, RemoteDataset)
    assert dataset.requests > 0
    assert list((tmp_path / "cache").rglob("*.block"))
    assert there.report(1)[0]["dataset"] == f"file://{folder}"


def test_an_address_with_no_dataset_is_named(tmp_path: Path) -> None:
    config = tiny.config(data={"cache": tmp_path / "cache"})
    with pytest.raises(InputError, match=rf"file://{tmp_path}/none/manifest.json: cannot be read"):
        BatchMaker(config, f"file://{tmp_path}/none", 0, 1)
