"""Object storage for real: a moto server on loopback that speaks S3, read from and published to."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from tests.data_prep.helpers import fingerprints, prep_config, prepare_here, story

s3fs = pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def bucket() -> Iterator["s3fs.S3FileSystem"]:
    """A file system with an empty bucket called `crawl`."""
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        system = s3fs.S3FileSystem()
        if not system.exists("crawl"):  # moto's buckets belong to the process
            system.mkdir("crawl")
        yield system
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_the_same_dataset_from_s3_as_from_disk_and_back(bucket: "s3fs.S3FileSystem", tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    for number in range(3):
        lines = "".join(json.dumps({"text": story(10 * number + i, 300)}) + "\n" for i in range(10))
        (tmp_path / "corpus" / f"{number}.jsonl").write_text(lines)
        bucket.pipe(f"crawl/in/{number}.jsonl", lines.encode())
    bucket.pipe("crawl/jsonl.paths", b"0.jsonl\n1.jsonl\n2.jsonl\n")
    prepare_here(prep_config([tmp_path / "corpus"]), tmp_path / "local")
    for name, paths in (
        ("folder", ["s3://crawl/in"]),
        ("glob", ["s3://crawl/in/*.jsonl"]),
        ("list", ["s3://crawl/jsonl.paths"]),
    ):
        shards = {"publish": f"s3://crawl/out/{name}"}
        corpus = {"paths": paths, "path_prefix": "s3://crawl/in/", "shards": shards}
        prepare_here(prep_config([], corpus=corpus), tmp_path / name)
        bucket.get(f"crawl/out/{name}", str(tmp_path / f"{name}-back"), recursive=True)
        back = Dataset(tmp_path / f"{name}-back")
        back.verify()
        assert back.manifest.fingerprint == Dataset(tmp_path / "local").manifest.fingerprint
        assert fingerprints(tmp_path / name).items() <= fingerprints(tmp_path / f"{name}-back").items()


def test_only_what_changed_is_published_again(bucket: "s3fs.S3FileSystem", tmp_path: Path) -> None:
    from data_prep.shards.publish import publish

    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": story(i, 300)}) + "\n" for i in range(20)))
    prepare_here(prep_config([tmp_path / "a.jsonl"]), tmp_path / "out")
    assert publish(tmp_path / "out", "s3://crawl/again") > 5
    assert publish(tmp_path / "out", "s3://crawl/again") == 1  # the manifest alone
    bucket.rm_file("crawl/again/tokenizer.model")
    assert publish(tmp_path / "out", "s3://crawl/again") == 2


def test_storage_that_refuses_is_one_sentence(bucket: "s3fs.S3FileSystem", tmp_path: Path) -> None:
    with pytest.raises(InputError, match="s3://nowhere/x"):
        prepare_here(prep_config([], corpus={"paths": ["s3://nowhere/x"]}), tmp_path / "out")
