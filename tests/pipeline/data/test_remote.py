"""Datasets behind an S3 server on this machine: the same samples, few requests, a cache that stays small."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig
from pipeline.data.maker import BatchMaker
from pipeline.data.remote import BlockCache, RemoteDataset
from tests.pipeline import tiny
from tests.pipeline.data.corpora import random_documents, write_tokens

moto_server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")

BLOCKS = 30


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("remote") / "dataset"
    write_tokens(
        folder,
        {"train": random_documents(150, 60, 1), "validation": random_documents(10, 60, 2)},
        per_block=150 // BLOCKS,
    )
    return folder


@pytest.fixture(scope="module")
def address(local: Path) -> Iterator[str]:
    """The dataset in a bucket of a server on the loopback interface."""
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        host, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        files = s3fs.S3FileSystem(skip_instance_cache=True)
        files.mkdir("corpus")
        files.put(f"{local}/", "corpus/web/", recursive=True)
        yield "s3://corpus/web"
    server.stop()


def config(cache: Path, limit: int = 10**9, **data: object) -> PipelineConfig:
    return tiny.config(
        train={"global_batch": 8, "micro_batch": 8},
        data={"sequence_length": 16, "shuffle_window": 10, "cache": cache, "cache_bytes": limit, **data},
    )


def epoch(maker: BatchMaker) -> np.ndarray:
    return maker.train.samples(np.arange(maker.train.streams[0].order.samples)).tokens


def remote_of(maker: BatchMaker) -> RemoteDataset:
    dataset = maker.train.streams[0].dataset
    assert isinstance(dataset, RemoteDataset)
    return dataset


def test_the_same_samples_with_one_request_a_block(local: Path, address: str, tmp_path: Path) -> None:
    here = BatchMaker(config(tmp_path), str(local), 0, 1)
    there = BatchMaker(config(tmp_path), address, 0, 1)
    np.testing.assert_array_equal(epoch(there), epoch(here))
    assert remote_of(there).requests == BLOCKS
    again = BatchMaker(config(tmp_path), address, 0, 1)
    np.testing.assert_array_equal(epoch(again), epoch(here))
    assert remote_of(again).requests == 0


def test_the_cache_stays_within_its_limit(local: Path, address: str, tmp_path: Path) -> None:
    limit = 6000
    here = BatchMaker(config(tmp_path), str(local), 0, 1)
    there = BatchMaker(config(tmp_path, limit), address, 0, 1)
    np.testing.assert_array_equal(epoch(there), epoch(here))
    for coming in remote_of(there)._coming["train"].values():
        coming.result()  # what is being fetched ahead is written before the cache shrinks
    kept = sum(path.stat().st_size for path in tmp_path.rglob("*.block"))
    largest = max(path.stat().st_size for path in tmp_path.rglob("*.block"))
    assert 0 < kept <= limit + limit / 64 + largest
    assert remote_of(there).requests >= BLOCKS


def test_a_damaged_copy_is_fetched_again(local: Path, address: str, tmp_path: Path) -> None:
    expected = epoch(BatchMaker(config(tmp_path), address, 0, 1))
    for path in list(tmp_path.rglob("*.block"))[:3]:
        path.write_bytes(bytes(path.stat().st_size))
    next(tmp_path.rglob("*.block")).write_bytes(b"short")
    again = BatchMaker(config(tmp_path), address, 0, 1)
    np.testing.assert_array_equal(epoch(again), expected)
    assert 0 < remote_of(again).requests <= 4


def test_a_block_that_is_corrupt_at_its_source_is_named(local: Path, address: str, tmp_path: Path) -> None:
    maker = BatchMaker(config(tmp_path), address, 0, 1)
    row = maker.train.streams[0].reader.table[0]
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    good = files.cat_file("corpus/web/train/shard-00000.tar")
    bad = bytearray(good)
    bad[int(row["tokens_offset"])] ^= 1
    files.pipe_file("corpus/web/train/shard-00000.tar", bytes(bad))
    try:
        with pytest.raises(InputError, match=r"s3://corpus/web/train/shard-00000\.tar: the block at byte"):
            epoch(maker)
    finally:
        files.pipe_file("corpus/web/train/shard-00000.tar", good)


def test_blocks_are_fetched_ahead(local: Path, address: str, tmp_path: Path) -> None:
    """After one window is read, the blocks of the next are already on disk or under way."""
    maker = BatchMaker(config(tmp_path), address, 0, 1)
    stream, dataset = maker.train.streams[0], remote_of(maker)
    stream.samples(np.arange(1))
    coming = dataset._coming["train"]
    for block in stream._blocks(0, 1):
        row = stream.reader.table[block]
        path = dataset.split("train").shards[int(row["shard"])].path
        names = [name for name in coming if path in name and f"/{int(row['tokens_offset'])}-" in name]
        assert len(names) == 1
        assert len(coming[names[0]].result()) > 0


def test_workers_read_remote_datasets_too(local: Path, address: str, tmp_path: Path) -> None:
    from pipeline.data.pretraining import PretrainingBatches

    source = PretrainingBatches(config(tmp_path, workers=1), address, 0, 1)
    here = BatchMaker(config(tmp_path), str(local), 0, 1)
    try:
        np.testing.assert_array_equal(source.step(1)[0]["tokens"], here.step(1)[0]["tokens"])
    finally:
        source.close()


@pytest.mark.parametrize("wrong", ["s3://corpus/nothing", "s3://nobucket/web", "nonsense://corpus/web"])
def test_wrong_addresses_are_named(address: str, tmp_path: Path, wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        BatchMaker(config(tmp_path), wrong, 0, 1)


def test_the_cache_forgets_what_was_used_longest_ago(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 250)
    for number in range(4):
        cache.put(f"{number}.block", bytes(100))
        time.sleep(0.02)  # file times are that coarse
        assert cache.get("0.block", 100) is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.block", "3.block"]
    assert cache.get("1.block", 100) is None
