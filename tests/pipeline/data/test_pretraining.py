"""The stream of batches: the same in every layout, every token once per epoch, targets one position on."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import PipelineConfig
from pipeline.data.pretraining import PretrainingBatches
from tests.pipeline import tiny
from tests.pipeline.data.corpora import random_documents, write_tokens

EOS = 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_tokens(folder, {"train": random_documents(150, 60, 1), "validation": random_documents(20, 60, 2)})
    return folder


def config(global_batch: int = 24, micro_batch: int = 1, **sections: dict[str, object]) -> PipelineConfig:
    train = {"global_batch": global_batch, "micro_batch": micro_batch, **sections.pop("train", {})}
    data = {"sequence_length": 16, "shuffle_window": 10, **sections.pop("data", {})}
    return tiny.config(train=train, data=data, **sections)


def global_batch(source: PretrainingBatches, step: int) -> list[np.ndarray]:
    return [row for batch in source.step(step) for row in batch["tokens"]]


def interleaved(sources: list[PretrainingBatches], step: int, size: int) -> np.ndarray:
    """The global batch in its order: micro batch m of rank r of W is number m x W + r."""
    shares = [[batch["tokens"] for batch in source.step(step)] for source in sources]
    return np.concatenate([shares[rank][m] for m in range(len(shares[0])) for rank in range(len(sources))])


@pytest.mark.parametrize(("ranks", "micro_batch"), [(2, 1), (3, 2), (4, 3), (8, 3)])
def test_the_global_batch_does_not_depend_on_the_layout(corpus: Path, ranks: int, micro_batch: int) -> None:
    alone = PretrainingBatches(config(), corpus, 0, 1)
    sources = [PretrainingBatches(config(24, micro_batch), corpus, rank, ranks) for rank in range(ranks)]
    for step in (0, 1, 2, 7, 3):
        expected = np.array(global_batch(alone, step))
        np.testing.assert_array_equal(interleaved(sources, step, micro_batch), expected)


def test_every_token_once_per_epoch(corpus: Path) -> None:
    source = PretrainingBatches(config(1), corpus, 0, 1)
    samples = source.maker.train.streams[0].order.samples
    documents = Counter(tuple(doc.tolist()) for doc in random_documents(150, 60, 1))
    for epoch in range(2):
        inputs: Counter[int] = Counter()
        targets: Counter[int] = Counter()
        for step in range(epoch * samples, (epoch + 1) * samples):
            (batch,) = source.step(step)
            real = batch["weights"][0] > 0
            inputs.update(batch["tokens"][0][real].tolist())
            targets.update(batch["targets"][0][real].tolist())
        expected = Counter(token for doc in documents.elements() for token in doc) + Counter({EOS: 150})
        assert inputs == expected
        assert targets == expected


def test_targets_are_the_stream_one_position_on(corpus: Path) -> None:
    source = PretrainingBatches(config(), corpus, 0, 1)
    stream = source.maker.train.streams[0]
    rows = {}
    for batch in source.step(0) + source.step(1) + source.step(2):
        rows[tuple(batch["tokens"][0].tolist())] = batch["targets"][0]
        np.testing.assert_array_equal(batch["targets"][0, :-1], batch["tokens"][0, 1:])
    # The last target is the first token of the next slot, which the window holds.
    window = stream.window(0, 0)
    for slot in range(len(window.tokens) - 1):
        assert window.following[slot, -1] == window.tokens[slot + 1, 0]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_validation_is_the_same_set_in_every_layout(corpus: Path, ranks: int) -> None:
    settings = config(24, 4 // min(ranks, 2), train={"validation_samples": 13})
    shares = [list(PretrainingBatches(settings, corpus, rank, ranks).validation()) for rank in range(ranks)]
    assert len({len(share) for share in shares}) == 1
    kept = Counter(
        tuple(row.tolist())
        for share in shares
        for batch in share
        for row, weights in zip(batch["tokens"], batch["weights"], strict=True)
        if weights.any()
    )
    stream = PretrainingBatches(config(), corpus, 0, 1).maker.held_out
    expected = Counter(tuple(row.tolist()) for row in stream.samples(np.arange(13)).tokens)
    assert kept == expected


def test_segments_and_positions_restart_at_every_document(corpus: Path) -> None:
    source = PretrainingBatches(config(data={"attention": "inside_documents"}), corpus, 0, 1)
    for batch in source.step(0):
        row, segments, positions = (batch[name][0] for name in ("tokens", "segments", "positions"))
        segment, position = 0, 0
        for place, token in enumerate(row):
            if token == EOS or place == 0:
                segment, position = segment + 1, 0
            assert (segments[place], positions[place]) == (segment, position)
            position += 1


def test_a_small_validation_split_gives_what_it_has(corpus: Path) -> None:
    settings = config(24, 4, train={"validation_samples": 10_000})
    shares = [list(PretrainingBatches(settings, corpus, rank, 2).validation()) for rank in range(2)]
    assert len(shares[0]) == len(shares[1])
    assert all(batch["tokens"].shape == (4, 16) for share in shares for batch in share)
    weights = sum(batch["weights"].sum() for share in shares for batch in share)
    assert weights == sum(len(document) + 1 for document in random_documents(20, 60, 2))


def test_validation_noise_is_the_same_every_time(corpus: Path) -> None:
    settings = config(24, 4, train={"validation_samples": 13}, objective={"kind": "masked_lm"})
    source = PretrainingBatches(settings, corpus, 0, 1)
    first, second = list(source.validation()), list(source.validation())
    for batch, again in zip(first, second, strict=True):
        for name in batch:
            np.testing.assert_array_equal(batch[name], again[name])
