"""Finished datasets whose files are lost or changed: what is made again is what a fresh run makes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep import run
from data_prep.config import PrepConfig
from data_prep.contract.dataset import DAMAGED, Dataset
from data_prep.contract.receipt import read_receipt
from data_prep.storage import Storage
from tests.data_prep.helpers import Here, fingerprints, prep_config, story, write_jsonl

SHARD = "train/shard-00001.tar"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> PrepConfig:
    corpus = tmp_path_factory.mktemp("corpus")
    write_jsonl(corpus / "a.jsonl", [story(number) for number in range(60)])
    return prep_config([corpus / "a.jsonl"], corpus={"shards": {"shard_bytes": 2000}})


@pytest.fixture(scope="module")
def fresh(config: PrepConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh") / "dataset"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Cluster", Here)
        Here.done = []
        run.prepare(config, Storage(folder), lambda line: None)
    assert len([*folder.glob("train/*.tar")]) > 2
    return folder


@pytest.fixture
def copy(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run, "Cluster", Here)
    Here.done = []
    return Path(shutil.copytree(fresh, tmp_path / "dataset"))


def flip(path: Path, at: int = 700) -> None:
    """Change some bytes and not the size."""
    content = bytearray(path.read_bytes())
    content[at : at + 4] = bytes(255 - byte for byte in content[at : at + 4])
    path.write_bytes(bytes(content))


def flip_and_mark(path: Path) -> None:
    flip(path)
    (path.parents[1] / DAMAGED).write_text(SHARD + "\n")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("harm", [Path.unlink, cut, flip_and_mark])
def test_a_shard_that_is_gone_cut_or_damaged_is_made_again_alone(
    config: PrepConfig, fresh: Path, copy: Path, harm: Callable[[Path], None]
) -> None:
    kept = (copy / "train" / "shard-00000.tar").stat().st_ino
    harm(copy / SHARD)
    lines: list[str] = []
    receipt = run.prepare(config, Storage(copy), lines.append)
    assert Here.done == ["shards"]
    assert lines[0] == f"prep: {copy / SHARD}: missing or damaged, made again"
    assert fingerprints(copy) == fingerprints(fresh)
    assert (copy / "train" / "shard-00000.tar").stat().st_ino == kept
    assert read_receipt(copy) == receipt
    Dataset(copy).verify()
    run.prepare(config, Storage(copy), lines.append)
    assert lines[-1] == f"prep: {copy} is done already"


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "tokenizer.model", "documents.parquet", "train/blocks.npy", "instructions/train.jsonl"],
)
@pytest.mark.parametrize("harm", [Path.unlink, cut])
def test_every_other_file_is_made_again_too(
    config: PrepConfig, fresh: Path, copy: Path, name: str, harm: Callable[[Path], None]
) -> None:
    if name.endswith("jsonl"):
        harm = Path.unlink  # it is empty
    harm(copy / name)
    run.prepare(config, Storage(copy), lambda line: None)
    assert fingerprints(copy) == fingerprints(fresh)


@pytest.mark.parametrize("gone", ["", "encode", "collect"])
def test_where_parts_are_gone_too_all_that_they_hold_is_made_again(
    config: PrepConfig, fresh: Path, copy: Path, gone: str
) -> None:
    (copy / SHARD).unlink()
    if gone:  # the marks of parts stay, as if only large files had been removed
        for path in (copy / "parts" / gone).iterdir():
            if path.suffix != ".json":
                path.unlink()
    else:
        shutil.rmtree(copy / "parts")
    run.prepare(config, Storage(copy), lambda line: None)
    assert {"shards", gone or "tokenizer"} <= {*Here.done}
    assert fingerprints(copy) == fingerprints(fresh)


def test_a_mark_of_damage_goes_where_all_is_well_and_harm_without_one_is_not_looked_for(
    config: PrepConfig, fresh: Path, copy: Path
) -> None:
    lines: list[str] = []
    (copy / DAMAGED).write_text(SHARD)
    run.prepare(config, Storage(copy), lines.append)
    assert not (copy / DAMAGED).exists()
    flip(copy / SHARD)
    run.prepare(config, Storage(copy), lines.append)
    assert lines == [f"prep: {copy} is done already"] * 2
    assert Here.done == []


def test_damage_is_not_taken_over_from_a_folder_that_shares_the_files(
    config: PrepConfig, fresh: Path, copy: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    run.prepare(config, Storage(other), lambda line: None, [copy])
    assert (other / SHARD).stat().st_ino == (copy / SHARD).stat().st_ino
    with (copy / SHARD).open("r+b") as file:  # in place, so in both
        file.seek(700)
        file.write(b"#" * 4)
    (other / DAMAGED).write_text(SHARD)
    run.prepare(config, Storage(other), lambda line: None, [copy])
    assert fingerprints(other) == fingerprints(fresh)


def test_a_manifest_from_elsewhere_deletes_nothing_outside(
    config: PrepConfig, fresh: Path, copy: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious.tar").write_bytes(b"x")
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text().replace(SHARD, "../precious.tar"))
    run.prepare(config, Storage(copy), lambda line: None)
    assert (tmp_path / "precious.tar").read_bytes() == b"x"
    assert fingerprints(copy) == fingerprints(fresh)


def parts_of(folder: Path) -> list[Path]:
    """Every file of finished parts that is not a mark."""
    return sorted(path for path in folder.glob("parts/*/*.*") if path.suffix != ".json")


def test_a_changed_byte_in_any_file_of_a_finished_part_is_found_when_a_run_goes_on(
    config: PrepConfig, fresh: Path, copy: Path
) -> None:
    """In arrays and tables most bytes may change and leave an array and a table."""
    (copy / "receipt.json").unlink()  # as if the run had been ended just before
    assert len(parts_of(copy)) >= 10
    damaged = [path for path in parts_of(copy) if path.stat().st_size]
    for path in damaged:
        content = bytearray(path.read_bytes())
        content[len(content) * 2 // 3] ^= 1
        path.write_bytes(bytes(content))
    lines: list[str] = []
    run.prepare(config, Storage(copy), lines.append)
    assert fingerprints(copy) == fingerprints(fresh)
    told = {line.removeprefix("prep: ").removesuffix(": damaged, made again") for line in lines}
    steps = {path.parent.name for path in damaged}
    assert {Path(path).parent.name for path in told if "/parts/" in path} == steps
    Here.done = []
    (copy / "receipt.json").unlink()
    run.prepare(config, Storage(copy), lines.append)
    assert Here.done == []  # what is sound is not made again


def test_a_changed_number_in_a_mark_is_found(config: PrepConfig, fresh: Path, copy: Path) -> None:
    (copy / "receipt.json").unlink()
    [mark] = copy.glob("parts/judge/*.json")
    mark.write_text(mark.read_text().replace('"documents": 60', '"documents": 61'))
    run.prepare(config, Storage(copy), lambda line: None)
    assert fingerprints(copy) == fingerprints(fresh)
    assert "judge" in Here.done
