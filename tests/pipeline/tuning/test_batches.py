"""Instruction batches: one global batch in every layout, loss on answers alone, nothing lost in silence."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import ASSISTANT, END, Vocabulary
from pipeline.config import PipelineConfig
from pipeline.objectives.batches import Batch
from pipeline.tuning.batches import InstructionBatches
from tests.pipeline import tiny


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return tiny.vocabulary(tmp_path_factory.mktemp("tokenizer") / "tokenizer.model")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    tiny.write_pairs(tmp_path / "pairs.jsonl", 37)
    return tmp_path / "pairs.jsonl"


def recipe(length: int = 96, micro_batch: int = 2, validation_samples: int = 256) -> PipelineConfig:
    tune = {"global_batch": 8, "micro_batch": micro_batch, "validation_samples": validation_samples}
    return tiny.config(train=tune, data={"sequence_length": length})


def rows(batches: list[Batch]) -> list[bytes]:
    return [row.tobytes() for batch in batches for row in batch["tokens"]]


def test_the_global_batch_is_the_same_for_every_layout(vocabulary: Vocabulary, pairs: Path) -> None:
    def global_batch(size: int, micro_batch: int, step: int) -> Counter[bytes]:
        sources = [
            InstructionBatches(recipe(micro_batch=micro_batch), vocabulary, [pairs], [pairs], rank, size)
            for rank in range(size)
        ]
        return Counter(row for source in sources for row in rows(source.step(step)))

    for step in (0, 3, 11):
        one = global_batch(1, 8, step)
        assert sum(one.values()) == 8
        for layout in ((1, 2), (2, 2), (4, 1), (4, 2)):
            assert global_batch(*layout, step) == one
    assert global_batch(1, 8, 0) != global_batch(1, 8, 1)


def test_an_epoch_shows_each_conversation_once(vocabulary: Vocabulary, pairs: Path) -> None:
    source = InstructionBatches(recipe(), vocabulary, [pairs], [pairs], 0, 1)
    seen = [row for step in range(37) for row in rows(source.step(step))]
    epochs = [seen[start : start + 37] for start in range(0, len(seen), 37)]
    assert len(epochs) == 8
    assert all(len(set(epoch)) == 37 for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_loss_is_on_the_answer_and_its_end(vocabulary: Vocabulary, pairs: Path) -> None:
    batch = InstructionBatches(recipe(), vocabulary, [pairs], [pairs], 0, 1).step(0)[0]
    assert {name: array.dtype.name for name, array in batch.items()} == {
        "tokens": "int64",
        "targets": "int64",
        "weights": "float32",
    }
    answers = {json.loads(line)["output"] for line in pairs.read_text().splitlines()}
    for tokens, targets, weights in zip(*batch.values(), strict=True):
        learned = targets[weights > 0]
        assert learned[-1] == vocabulary.id_of(END)
        assert vocabulary.decode(learned[:-1]) in answers
        assert tokens[np.flatnonzero(weights)[0]] == vocabulary.id_of(ASSISTANT)
        used = int(np.flatnonzero(weights)[-1]) + 1
        assert (tokens[1:used] == targets[: used - 1]).all()
        assert (tokens[used:] == vocabulary.pad).all()


def test_validation_gives_every_rank_equally_many_batches_and_each_sample_once(
    vocabulary: Vocabulary, pairs: Path
) -> None:
    sources = [
        InstructionBatches(recipe(validation_samples=9), vocabulary, [pairs], [pairs], rank, 2)
        for rank in (0, 1)
    ]
    batches = [list(source.validation()) for source in sources]
    assert len(batches[0]) == len(batches[1]) == 3
    real = [row for batch in batches[0] + batches[1] for row in batch["weights"] if row.any()]
    assert len(real) == 9
    assert rows(batches[0]) == rows(list(sources[0].validation()))


def test_a_share_is_held_out_where_there_are_no_validation_files(vocabulary: Vocabulary, pairs: Path) -> None:
    source = InstructionBatches(recipe(), vocabulary, [pairs], [], 0, 1)
    assert (source.counts["train"], source.counts["validation"]) == (35, 2)
    trained = {row for step in range(10) for row in rows(source.step(step))}
    held_out = {row.tobytes() for batch in source.validation() for row in batch["tokens"] if (row != 0).any()}
    assert len(trained) == 35
    assert not trained & held_out


def test_long_and_empty_conversations_are_cut_or_skipped_and_counted(
    vocabulary: Vocabulary, tmp_path: Path, pairs: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    long = "the sum of two " * 40
    answers = [("two", "sum"), (long, "sum"), ("two", long), ("two", "  ")]
    path.write_text("\n".join(json.dumps({"instruction": q, "output": a}) for q, a in answers))
    source = InstructionBatches(recipe(length=32), vocabulary, [path], [path], 0, 1)
    expected = {
        "conversations": 8,
        "skipped_long": 2,
        "cut_long": 2,
        "skipped_empty": 2,
        "train": 2,
        "validation": 2,
    }
    assert source.counts == expected
    lengths = {int(batch["weights"].any(axis=0).sum()) for batch in source.step(0)}
    assert max(lengths) > 20


def encoder_decoder(length: int, kind: str = "span_corruption") -> PipelineConfig:
    return tiny.config(
        train={"global_batch": 2, "micro_batch": 2},
        data={"sequence_length": length},
        objective={"kind": kind},
    )


def test_an_encoder_reads_the_conversation_and_a_decoder_learns_each_answer(
    vocabulary: Vocabulary, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    said = ("adds two", "sum of two", "a file", "the path")
    turns = [
        {"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, said, strict=True)
    ]
    path.write_text(json.dumps({"messages": turns}) + "\n")
    source = InstructionBatches(encoder_decoder(48), vocabulary, [path], [path], 0, 1)
    assert (source.counts["conversations"], source.counts["train"]) == (2, 2)  # read for both splits
    [batch] = list(source.validation())
    ids = [vocabulary.encode(text) for text in said]
    user, assistant, end = (vocabulary.id_of(piece) for piece in ("<|user|>", ASSISTANT, END))
    first = [vocabulary.bos, user, *ids[0], end, assistant]
    second = [*first, *ids[1], end, user, *ids[2], end, assistant]
    answers = [[*ids[1], end], [*ids[3], end]]
    width = max(map(len, answers))
    pad = vocabulary.pad

    def filled(row: list[int], length: int) -> list[int]:
        return row + [pad] * (length - len(row))

    assert {name: array.tolist() for name, array in batch.items()} == {
        "encoder_tokens": [filled(first, 48), filled(second, 48)],
        "encoder_segments": [filled([1] * len(row), 48) for row in (first, second)],
        "tokens": [filled([pad, *answer[:-1]], width) for answer in answers],
        "targets": [filled(answer, width) for answer in answers],
        "weights": [filled([1] * len(answer), width) for answer in answers],
    }
    assert {name: array.dtype.name for name, array in batch.items()} == {
        "encoder_tokens": "int64",
        "encoder_segments": "int32",
        "tokens": "int64",
        "targets": "int64",
        "weights": "float32",
    }
    bart = InstructionBatches(encoder_decoder(48, "denoising"), vocabulary, [path], [path], 0, 1)
    assert {row[0] for batch in bart.step(0) for row in batch["tokens"].tolist()} == {vocabulary.eos}


def test_an_encoder_needs_room_for_what_it_reads_and_a_decoder_loses_an_answers_end(
    vocabulary: Vocabulary, tmp_path: Path, pairs: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    long = "the sum of two " * 40
    rows = [{"instruction": q, "output": a} for q, a in [("two", "sum"), (long, "sum"), ("two", long)]]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    source = InstructionBatches(encoder_decoder(32), vocabulary, [path], [path], 0, 1)
    assert (source.counts["skipped_long"], source.counts["cut_long"], source.counts["train"]) == (2, 2, 2)
    [batch] = source.step(0)
    assert batch["encoder_tokens"].shape == batch["targets"].shape == (2, 32)
    assert sorted(batch["weights"].sum(axis=1).tolist()) == [len(vocabulary.encode("sum")) + 1, 32]


def test_nothing_to_train_on_is_the_users_error(vocabulary: Vocabulary, tmp_path: Path, pairs: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    with pytest.raises(InputError, match=r"empty.jsonl.*0 conversations left to train on"):
        InstructionBatches(recipe(), vocabulary, [empty], [pairs], 0, 1)


def test_the_conversations_of_a_step_are_those_of_every_rank(vocabulary: Vocabulary, pairs: Path) -> None:
    sources = [InstructionBatches(recipe(), vocabulary, [pairs], [pairs], rank, 2) for rank in range(2)]
    told = sources[1].documents(5)
    shown = [
        vocabulary.decode([piece for piece in row if piece != vocabulary.pad])
        for source in sources
        for batch in source.step(5)
        for row in batch["tokens"].tolist()
    ]
    assert len({one["document"] for one in told}) == 8
    assert all(any(text.startswith(one["text"]) for text in shown) for one in told)
