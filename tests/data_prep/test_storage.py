"""Object storage for real: a moto server on loopback that speaks S3, read from, worked in, published to."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from data_prep import standing_in
from data_prep.config import PrepConfig
from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from data_prep.inspect import describe
from data_prep.shards.publish import publish
from data_prep.storage import Storage
from launch.recipe import Recipe
from launch.runner import Runner
from pipeline.config import DataConfig
from pipeline.data.remote import open_dataset
from tests.data_prep.helpers import (
    Here,
    fingerprints,
    here,
    prep_config,
    prepare_here,
    prepare_in,
    story,
    write_jsonl,
)


def test_the_same_dataset_from_s3_as_from_disk_and_back(bucket: Any, tmp_path: Path) -> None:
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


def test_only_what_changed_is_published_again(bucket: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": story(i, 300)}) + "\n" for i in range(20)))
    prepare_here(prep_config([tmp_path / "a.jsonl"]), tmp_path / "out")
    assert publish(Storage(tmp_path / "out"), "s3://crawl/again") > 5
    assert publish(Storage(tmp_path / "out"), "s3://crawl/again") == 1  # the manifest alone
    bucket.rm_file("crawl/again/tokenizer.model")
    assert publish(Storage(tmp_path / "out"), "s3://crawl/again") == 2


def test_storage_that_refuses_is_one_sentence(bucket: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="s3://nowhere/x"):
        prepare_here(prep_config([], corpus={"paths": ["s3://nowhere/x"]}), tmp_path / "out")


ADDRESS = "s3://crawl/big/dataset"


@pytest.fixture
def small(tmp_path: Path) -> PrepConfig:
    """Four parts of 15 documents each, two of them twice, with files that the recipe names."""
    for number in range(4):
        texts = [story(15 * number + i, 300) for i in range(15)]
        write_jsonl(tmp_path / f"{number}.jsonl", [*texts, story(0, 300)])
    (tmp_path / "blocked.txt").write_text("blocked.test")
    (tmp_path / "quiz.txt").write_text(
        "thirteen words that nobody has ever put into this very order before today"
    )
    filters = {"use": ["url"], "url": {"blocklist": str(tmp_path / "blocked.txt")}}
    decontaminate = {"paths": [str(tmp_path / "quiz.txt")]}
    corpus = {
        "part_bytes": 1,
        "filters": filters,
        "decontaminate": decontaminate,
        "dedup": {"lines": {"enabled": True, "min_sentences": 0}},
        "shards": {"shard_bytes": 20_000},
    }
    return prep_config(sorted(tmp_path.glob("*.jsonl")), corpus=corpus)


def downloaded(bucket: Any, folder: Path) -> dict[str, str]:
    bucket.get(ADDRESS, str(folder), recursive=True)
    return fingerprints(folder)


def test_a_work_folder_in_a_bucket_holds_what_one_on_disk_does(
    bucket: Any, small: PrepConfig, tmp_path: Path
) -> None:
    counts = prepare_here(small, tmp_path / "local")
    assert prepare_in(Storage(tmp_path / "here", ADDRESS), small)["funnel"] == counts["funnel"]
    local = fingerprints(tmp_path / "local")
    assert len([name for name in local if name.endswith(".tar")]) > 2
    there = downloaded(bucket, tmp_path / "there")
    assert local.items() <= there.items()
    assert {name for name in there if not name.startswith("given/")} == local.keys()
    assert publish(Storage(tmp_path / "here", ADDRESS), "s3://crawl/published") > 5  # from bucket to bucket
    bucket.get("crawl/published", str(tmp_path / "published"), recursive=True)
    Dataset(tmp_path / "published").verify()
    # on the machine that started it there are the small files, and neither texts nor tokens
    assert not [*(tmp_path / "here").rglob("*.tar")]
    assert [*(tmp_path / "here").rglob("*.parquet")] == [tmp_path / "here" / "documents.parquet"]


def test_a_run_in_a_bucket_that_lost_any_of_its_parts_ends_with_the_same_bytes(
    bucket: Any, small: PrepConfig, tmp_path: Path
) -> None:
    ran: list[str] = []

    def counting(step: str, work: Any, parts: Any) -> Any:
        ran.extend(part.name for part in parts)
        yield from here(step, work, parts)

    prepare_in(Storage(tmp_path / "first", ADDRESS), small, counting)
    whole = downloaded(bucket, tmp_path / "whole")
    ran.clear()
    prepare_in(Storage(tmp_path / "second", ADDRESS), small, counting)
    assert ran == []  # another machine finds all of it done
    draw = random.Random(3)
    for number in range(2):
        marks = draw.sample(sorted(bucket.glob(f"{ADDRESS}/parts/*/*.json")), 7)
        gone = [name for mark in marks for name in bucket.glob(mark.removesuffix("json") + "*")]
        bucket.rm([*gone, *draw.sample(sorted(bucket.glob(f"{ADDRESS}/train/*.tar")), 1)])
        ran.clear()
        prepare_in(Storage(tmp_path / f"again{number}", ADDRESS), small, counting)
        assert {mark.rsplit("/", 1)[1].removesuffix(".json") for mark in marks} <= set(ran)
        assert len(ran) <= 8
        assert downloaded(bucket, tmp_path / f"back{number}") == whole


def test_a_stage_that_is_done_in_a_bucket_is_done_on_another_machine(
    bucket: Any, small: PrepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_prep import run

    monkeypatch.setattr(run, "Cluster", Here)
    storage, lines = Storage(tmp_path / "here", f"{ADDRESS}-whole"), list[str]()
    receipt = run.prepare(small, storage, lambda line: None)
    told = describe(storage.folder)
    assert told["folder"] == f"{ADDRESS}-whole"
    assert told["rejected"]["exact duplicate"]["documents"] == 4
    assert run.prepare(small, replace(storage, folder=tmp_path / "other"), lines.append) == receipt
    assert lines == [f"prep: {ADDRESS}-whole is done already"]
    runner = Runner(Recipe(name="x"), tmp_path / "trains", [], print, "s3://crawl/nothing")
    with pytest.raises(InputError, match="s3://crawl/nothing/dataset: no finished dataset there"):
        runner.of_kind("pretrain")
    standing_in.stand_in(replace(storage, folder=tmp_path / "third"))
    assert fingerprints(tmp_path / "third").items() <= fingerprints(tmp_path / "here").items()
    data = DataConfig(cache=tmp_path / "cache")
    one, other = (open_dataset(str(place), data) for place in (tmp_path / "other", storage.address))
    assert one.folder == tmp_path / "other"
    for split in ("train", "validation"):
        for left, right in zip(one.blocks(split), other.blocks(split), strict=True):
            assert (left.tokens == right.tokens).all()


def test_a_folder_that_stands_for_a_dataset_which_was_made_anew(
    bucket: Any, small: PrepConfig, tmp_path: Path
) -> None:
    bucket.pipe("crawl/other/manifest.json", b"{}")
    prepare_in(Storage(tmp_path / "here", "s3://crawl/other"), small)
    (tmp_path / "here" / "address.txt").write_text("s3://crawl/other\n")
    changed = (tmp_path / "here" / "manifest.json").read_bytes() + b" "
    bucket.pipe("crawl/other/manifest.json", changed)
    with pytest.raises(InputError, match="s3://crawl/other holds another dataset by now"):
        open_dataset(str(tmp_path / "here"), DataConfig(cache=tmp_path / "cache"))


@pytest.mark.parametrize(
    ("address", "sentence"),
    [("s3://nobucket/x", "s3://nobucket/x: cannot be used"), ("nothing://x", "no storage that can be used")],
)
def test_an_address_that_cannot_be_used(
    bucket: Any, small: PrepConfig, tmp_path: Path, address: str, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        prepare_in(Storage(tmp_path / "here", address), small)


class Flaky(MemoryFileSystem):
    """Fails some times before it answers."""

    protocol = "flaky"
    store: dict[str, Any] = {}  # noqa: RUF012 - as in its parent
    left = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + str(path).removeprefix("flaky://").strip("/")

    def put_file(self, *arguments: Any, **options: Any) -> None:
        if Flaky.left:
            Flaky.left -= 1
            raise ConnectionResetError("the line is bad")
        super().put_file(*arguments, **options)


@pytest.mark.parametrize(("failures", "stored"), [(3, True), (4, False)])
def test_trouble_on_the_way_is_tried_again(
    failures: int, stored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("data_prep.storage.time.sleep", slept.append)
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    storage, file = Storage(tmp_path, "flaky://some/where"), tmp_path / "a.txt"
    file.write_text(f"{failures}")
    Flaky.left = failures
    if stored:
        storage.store(file)
        assert storage.read(file, tmp_path / "b.txt") == {file: b"3"}
        assert storage.slices([file, file], [0, 1], [1, 1]) == [b"3", b""]
    else:
        with pytest.raises(
            InputError, match=r"flaky://some/where: cannot be used \(ConnectionResetError: the line"
        ):
            storage.store(file)
    assert slept == [1, 4, 9]
