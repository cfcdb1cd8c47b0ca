"""Tracing a step back to documents: every excerpt is found in the document it names, none is missing."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import PipelineConfig
from pipeline.data.maker import BatchMaker
from pipeline.data.pretraining import PretrainingBatches
from pipeline.data.provenance import trace_step
from tests.pipeline import tiny
from tests.pipeline.data.corpora import random_documents, write_tokens

FIRST_ID = 2**63 - 40
"""Ids are hashes: some are beyond what a signed number holds."""


def config(**data: object) -> PipelineConfig:
    return tiny.config(
        train={"global_batch": 12, "micro_batch": 3},
        data={"sequence_length": 16, "shuffle_window": 10, **data},
    )


def write_origins(folder: Path, count: int) -> None:
    """documents.parquet for `count` documents."""
    table = {
        "id": pa.array(range(FIRST_ID, FIRST_ID + count), pa.uint64()),
        "source": [f"file-{n}.warc" for n in range(count)],
        "url": [f"https://example.org/{n}" if n % 2 else None for n in range(count)],
        "split": ["train"] * count,
    }
    pq.write_table(pa.table(table), folder / "documents.parquet")


@pytest.mark.parametrize("packing", ["joined", "best_fit"])
@pytest.mark.parametrize("corrupt", [False, True])
def test_every_token_of_the_batch_is_traced_to_its_document(
    tmp_path: Path, packing: str, corrupt: bool
) -> None:
    documents = random_documents(80, 60, 1)
    dataset = write_tokens(
        tmp_path, {"train": documents, "validation": random_documents(5, 60, 2)}, first_id=FIRST_ID
    )
    write_origins(tmp_path, 85)
    if corrupt:
        row = dataset.block_table("train")[3]
        shard = tmp_path / dataset.split("train").shards[int(row["shard"])].path
        data = bytearray(shard.read_bytes())
        data[int(row["tokens_offset"])] ^= 1
        shard.write_bytes(data)
    settings = config(packing=packing, corrupt_blocks="skip")
    maker = BatchMaker(settings, str(tmp_path), 0, 1)
    decode = dataset.vocabulary.decode
    for step in (0, 3, 20):
        traced = trace_step(settings, str(tmp_path), step)
        assert [sample.number for sample in traced] == list(range(12))
        samples = [row for micro in maker.indices(step) for row in micro]
        for number, sample in enumerate(traced):
            given = maker.train.samples(samples[number : number + 1])
            tokens = given.tokens[0][: given.lengths[0]].tolist()
            assert sum(excerpt.tokens for excerpt in sample.excerpts) == len(tokens)
            at = 0
            for excerpt in sample.excerpts:
                part = tokens[at : at + excerpt.tokens]
                at += excerpt.tokens
                number = excerpt.document - FIRST_ID
                whole = [3, *documents[number].tolist()]
                assert any(whole[i : i + len(part)] == part for i in range(len(whole)))
                assert excerpt.text == decode(part)
                assert excerpt.source == f"file-{number}.warc"
                assert not corrupt or not 15 <= number < 20


def test_a_mixture_names_the_dataset_and_ids_stand_alone_without_the_table(tmp_path: Path) -> None:
    write_tokens(
        tmp_path / "a", {"train": random_documents(40, 60, 1), "validation": random_documents(5, 9, 2)}
    )
    write_tokens(
        tmp_path / "b", {"train": random_documents(40, 60, 3), "validation": random_documents(5, 9, 4)}
    )
    settings = config(mixture=[{"dataset": str(tmp_path / "b"), "weight": 0.5}])
    traced = trace_step(settings, str(tmp_path / "a"), 2)
    datasets = [sample.dataset for sample in traced]
    assert datasets.count(str(tmp_path / "a")) == 8
    assert datasets.count(str(tmp_path / "b")) == 4
    assert all(excerpt.url is None for sample in traced for excerpt in sample.excerpts)


def test_the_documents_of_a_step_are_named_on_any_rank(tmp_path: Path) -> None:
    documents = random_documents(80, 60, 1)
    splits = {"train": documents, "validation": random_documents(5, 60, 2)}
    write_tokens(tmp_path, splits, first_id=FIRST_ID)
    write_origins(tmp_path, 85)
    source = PretrainingBatches(config(), tmp_path, 1, 2)
    told = source.documents(3)
    source.close()
    traced = [excerpt for sample in trace_step(config(), str(tmp_path), 3) for excerpt in sample.excerpts]
    assert [one["document"] for one in told] == [f"{excerpt.document:016x}" for excerpt in traced]
    assert {one["source"] for one in told} == {excerpt.source for excerpt in traced}
    assert {one["sample"] for one in told} == set(range(12))
