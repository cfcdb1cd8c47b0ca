"""Damaged data: a sentence that names the shard, or the block is left out and all else is untouched."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig
from pipeline.data.maker import BatchMaker
from tests.pipeline import tiny
from tests.pipeline.data.corpora import random_documents, write_tokens

DOCUMENTS = random_documents(60, 60, 1)
BLOCK = 4  # the damaged one: documents 20 to 24


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    dataset = write_tokens(tmp_path / "good", {"train": DOCUMENTS, "validation": random_documents(5, 60, 2)})
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    row = dataset.block_table("train")[BLOCK]
    path = tmp_path / "bad" / dataset.split("train").shards[int(row["shard"])].path
    data = bytearray(path.read_bytes())
    data[int(row["tokens_offset"]) + 3] ^= 1
    path.write_bytes(data)
    return tmp_path / "bad"


def config(**data: object) -> PipelineConfig:
    return tiny.config(
        train={"global_batch": 1, "micro_batch": 1}, data={"sequence_length": 16, "shuffle_window": 8, **data}
    )


def epoch_tokens(maker: BatchMaker) -> tuple[Counter[int], list[tuple[int, ...]]]:
    """Real input tokens of an epoch, and every sample without padding."""
    samples = maker.train.samples(np.arange(maker.train.streams[0].order.samples))
    real = samples.real()
    rows = [tuple(row[kept].tolist()) for row, kept in zip(samples.tokens, real, strict=True)]
    return Counter(samples.tokens[real].tolist()), rows


def test_a_corrupt_block_ends_the_run_with_the_shards_name(damaged: Path) -> None:
    maker = BatchMaker(config(), str(damaged), 0, 1)
    with pytest.raises(InputError, match=r"train/shard-00001\.tar: the block at byte \d+ is corrupt"):
        epoch_tokens(maker)


@pytest.mark.parametrize("packing", ["joined", "best_fit"])
def test_a_corrupt_block_is_left_out_and_counted(
    damaged: Path, packing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    maker = BatchMaker(config(corrupt_blocks="skip", packing=packing), str(damaged), 0, 1)
    tokens, rows = epoch_tokens(maker)
    lost = Counter(token for document in DOCUMENTS[20:25] for token in document.tolist())
    everything = Counter(token for document in DOCUMENTS for token in document.tolist())
    expected = everything - lost + Counter({3: 55})
    assert tokens == expected
    assert maker.report(1)[0]["blocks_left_out"] == 1
    assert capsys.readouterr().err.count("left out: ") == 1
    if packing == "joined":
        _, whole = epoch_tokens(BatchMaker(config(), str(damaged.parent / "good"), 0, 1))
        touched = [good for good, bad in zip(whole, rows, strict=True) if good != bad]
        lost_positions = sum(lost.values()) + 5
        assert 0 < len(touched) <= lost_positions / 16 + 2


@pytest.mark.parametrize("name", ["lengths_offset", "ids_offset"])
def test_damaged_lengths_and_ids_are_found_too(tmp_path: Path, name: str) -> None:
    dataset = write_tokens(tmp_path, {"train": DOCUMENTS, "validation": DOCUMENTS[:3]})
    row = dataset.block_table("train")[0]
    path = tmp_path / dataset.split("train").shards[0].path
    data = bytearray(path.read_bytes())
    data[int(row[name])] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="corrupt"):
        next(Dataset(tmp_path).blocks("train"))


def test_a_truncated_shard_is_named(damaged: Path) -> None:
    path = damaged / "train" / "shard-00002.tar"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"shard-00002\.tar: 2000 bytes where the manifest says \d+"):
        epoch_tokens(BatchMaker(config(corrupt_blocks="error"), str(damaged), 0, 1))


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    write_tokens(tmp_path, {"train": DOCUMENTS, "validation": []})
    with pytest.raises(InputError, match="the split 'validation' holds no documents"):
        BatchMaker(config(), str(tmp_path), 0, 1)


def test_a_run_past_an_epoch_limit_is_refused(damaged: Path) -> None:
    with pytest.raises(InputError, match=r"1000 samples take \d+\.\d+ epochs of it where max_epochs is 2"):
        BatchMaker(config(max_epochs=2.0), str(damaged), 0, 1)


def test_a_mixture_needs_one_tokenizer(damaged: Path, tmp_path: Path) -> None:
    other = write_tokens(tmp_path / "other", {"train": DOCUMENTS, "validation": DOCUMENTS[:3]})
    tiny.vocabulary(other.folder / "tokenizer.model", 148)
    from data_prep.contract.dataset import write_manifest

    splits = {
        name: [
            (shard, other.block_table(name)[other.block_table(name)["shard"] == index])
            for index, shard in enumerate(other.split(name).shards)
        ]
        for name in ("train", "validation")
    }
    write_manifest(other.folder, splits)
    with pytest.raises(InputError, match="made with another tokenizer"):
        BatchMaker(config(mixture=[{"dataset": str(other.folder)}]), str(damaged), 0, 1)
