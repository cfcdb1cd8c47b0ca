"""A dataset whose small files are not to be trusted: nothing outside its folder is read, no traceback."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.contract.dataset import Dataset, ShardWriter, write_manifest
from data_prep.contract.settings import InputError
from tests.data_prep.contract.test_reading import WRONG_JSON
from tests.pipeline import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.dataset(tmp_path / "dataset", {"train": tiny.sentences(40), "validation": tiny.sentences(5, 1)})
    return tmp_path / "dataset"


def change(folder: Path, act: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    act(content)
    path.write_text(json.dumps(content))


PLACES = [
    "/etc/passwd",
    "../../x",
    "train/../../x",
    "-x",
    "train\\x",
    "",
    "train//x",
    "x\x00y",
    "\x1b[2J",
    "~/x",
]


@pytest.mark.parametrize("place", PLACES)
def test_shards_at_other_places_are_refused(place: str, folder: Path) -> None:
    (folder / "../../x").resolve().write_bytes(b"secret")
    change(folder, lambda it: it["splits"]["train"]["shards"][0].update(path=place))
    with pytest.raises(InputError, match=r"manifest\.json: .* is no plain relative name"):
        Dataset(folder)


@pytest.mark.parametrize("place", [*PLACES, "train/deeper"])
def test_splits_at_other_places_are_refused(place: str, folder: Path) -> None:
    change(folder, lambda it: it["splits"].update({place: it["splits"]["train"]}))
    with pytest.raises(InputError, match=r"manifest\.json: .* is no (plain relative )?name"):
        Dataset(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("dtype", "object"), ("dtype", "<u2"), ("vocabulary_size", 0), ("splits", []), ("splits", {"train": 5})],
)
def test_manifests_with_values_that_none_has(key: str, value: object, folder: Path) -> None:
    change(folder, lambda it: it.update({key: value}))
    with pytest.raises(InputError, match=rf"manifest\.json: not a dataset manifest \({key}"):
        Dataset(folder)


@pytest.mark.parametrize("field", ["bytes", "documents", "tokens", "text_bytes", "blocks"])
@pytest.mark.parametrize("value", [-1, 10**30, 1.5, "x", None])
def test_counts_that_are_none(field: str, value: object, folder: Path) -> None:
    change(folder, lambda it: it["splits"]["train"]["shards"][0].update({field: value}))
    with pytest.raises(InputError, match=rf"not a dataset manifest \(splits.train.shards.0.{field}"):
        Dataset(folder)


@pytest.mark.parametrize("kind", WRONG_JSON)
def test_manifests_that_are_no_json(kind: str, folder: Path) -> None:
    (folder / "manifest.json").write_bytes(WRONG_JSON[kind])
    with pytest.raises(InputError, match=r"manifest\.json: "):
        Dataset(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [("shard", 1), ("shard", 2**32 - 1), ("tokens", 2**63), ("tokens", 10**6), ("documents", 10**6),
     ("tokens_offset", 2**64 - 8), ("tokens_offset", 10**6), ("lengths_offset", 2**64 - 1),
     ("ids_offset", 10**9)],
)  # fmt: skip
def test_block_tables_that_point_outside(field: str, value: int, folder: Path) -> None:
    path = folder / "train" / "blocks.npy"
    table = np.load(path)
    table[field][-1] = value
    np.save(path, table)
    with pytest.raises(InputError, match=r"train/blocks\.npy: it does not fit .* prepare the dataset again"):
        list(Dataset(folder).blocks("train"))


@pytest.mark.parametrize(
    "change_bytes",
    [lambda it: b"", lambda it: it[:-1], lambda it: it[:50], lambda it: it + b"x", lambda it: b"\0" * len(it),
     lambda it: it.replace(b"<u4", b"<i4", 1), lambda it: it[:-48]],
)  # fmt: skip
def test_block_tables_that_are_damaged(change_bytes: Callable[[bytes], bytes], folder: Path) -> None:
    path = folder / "train" / "blocks.npy"
    path.write_bytes(change_bytes(path.read_bytes()))
    with pytest.raises(InputError, match=r"train/blocks\.npy: .* prepare the dataset again"):
        list(Dataset(folder).blocks("train"))


def test_shards_that_are_gone_or_cut_are_said_before_work_begins(folder: Path) -> None:
    dataset = Dataset(folder)
    dataset.check_there()
    path = folder / dataset.split("train").shards[0].path
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(
        InputError, match=r"\.tar: \d+ bytes where the manifest says \d+ bytes; `bloomery prep`"
    ):
        dataset.check_there()
    path.unlink()
    with pytest.raises(InputError, match=r"\.tar: no file where the manifest says"):
        dataset.check_there()


def test_an_empty_split_has_an_empty_table(folder: Path) -> None:
    written = {"train": [ShardWriter(folder, "train", 200).write(0, [], 0)], "validation": []}
    write_manifest(folder, written)
    assert [*Dataset(folder).blocks("train"), *Dataset(folder).blocks("validation")] == []
