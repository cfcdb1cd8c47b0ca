"""A dataset taken over from another work folder: the same files, and folders that stand for themselves."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.contract.dataset import ADDRESS, DAMAGED, DOCUMENTS, MANIFEST, Dataset
from data_prep.contract.receipt import Receipt, read_receipt, write_receipt
from data_prep.reuse import take_over
from tests.pipeline import tiny


def made(folder: Path, fingerprint: str) -> Path:
    """A dataset with its receipt, a part of its making and what tracking knows of it."""
    tiny.dataset(folder, {"train": ["a file."], "validation": ["a path."]}, instructions=True)
    pq.write_table(pa.table({"id": [1, 2]}), folder / DOCUMENTS)
    (folder / "parts" / "decide").mkdir(parents=True)
    (folder / "parts" / "decide" / "0.json").write_text("{}")
    (folder / "tracking.json").write_text("{}")
    write_receipt(folder, Receipt(stage="prep", fingerprint=fingerprint, config={}))
    return folder


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def test_the_very_files_are_shared_but_for_receipt_and_tracking(tmp_path: Path) -> None:
    other = made(tmp_path / "one" / "dataset", "wanted")
    own = tmp_path / "two" / "dataset"
    (own / "train").mkdir(parents=True)
    (own / "train" / "stale.tar").write_text("of another preparation")
    found = take_over(own, [made(tmp_path / "zero" / "dataset", "another"), other, own], "wanted")
    assert found == (other, read_receipt(own))
    expected = files(other)
    del expected["tracking.json"]
    assert files(own).keys() == expected.keys()
    assert {name for name in expected if files(own)[name] != expected[name]} == {"receipt.json"}
    shutil.rmtree(other)
    Dataset(own).verify()
    assert [len(list(block.documents())) for block in Dataset(own).blocks("train")] == [1]


def test_what_is_made_anew_in_one_folder_leaves_the_other_as_it_was(tmp_path: Path) -> None:
    other, own = made(tmp_path / "one", "wanted"), tmp_path / "two"
    own.mkdir()
    take_over(own, [other], "wanted")
    before = (other / MANIFEST).read_bytes()
    tiny.dataset(own, {"train": ["adds two.", "a list."], "validation": ["a sum."]})
    assert (other / MANIFEST).read_bytes() == before != (own / MANIFEST).read_bytes()
    Dataset(other).verify()


def test_neither_another_dataset_nor_an_unfinished_one_nor_a_stand_in_nor_a_broken_one_is_taken(
    tmp_path: Path,
) -> None:
    damaged, cut = made(tmp_path / "damaged", "wanted"), made(tmp_path / "cut", "wanted")
    (damaged / DAMAGED).write_text("train/shard-00000.tar")
    (cut / "train" / "shard-00000.tar").write_bytes(b"")
    unfinished = made(tmp_path / "unfinished", "wanted")
    (unfinished / "receipt.json").unlink()
    stand_in = made(tmp_path / "stand-in", "wanted")
    (stand_in / ADDRESS).write_text("s3://bucket/dataset\n")
    others = [damaged, cut, made(tmp_path / "another", "another"), unfinished, stand_in, tmp_path / "nothing"]
    (tmp_path / "own").mkdir()
    assert take_over(tmp_path / "own", others, "wanted") is None
    assert list((tmp_path / "own").iterdir()) == []
