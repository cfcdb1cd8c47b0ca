"""Losses and likelihoods against closed forms of a bigram model, whatever the batching and windows."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from pipeline.evaluation import scoring
from pipeline.evaluation.perplexity import held_out, model_loss, unigram_loss, window
from pipeline.evaluation.scoring import Continuation, batches_by_length, log_likelihoods
from tests.pipeline import tiny
from tests.pipeline.evaluation.fakes import random_bigram

TOLERANCE = 1e-5
"""Relative; the logits are float32, the closed forms float64."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("work") / "dataset"
    texts = tiny.sentences(60)
    tiny.dataset(folder, {"train": texts[:40], "validation": texts[40:]})
    return Dataset(folder)


def texts_of(data: Dataset, split: str) -> list[list[int]]:
    return [document.tolist() for block in data.blocks(split) for document in block.documents()]


@pytest.mark.parametrize("length", [1, 3, 8, 64])
def test_loss_perplexity_and_bits_are_those_of_the_bigram_table(data: Dataset, length: int) -> None:
    model = random_bigram(tiny.config(data={"sequence_length": length}), data.vocabulary)
    held = held_out(data, "validation", length, seed=1, most_tokens=10**9)
    figures = model_loss(model, held)
    nats, predictions = 0.0, 0
    for tokens in texts_of(data, "validation"):
        ids = [data.vocabulary.eos, *tokens, data.vocabulary.eos]
        nats -= sum(model.logs[a, b] for a, b in itertools.pairwise(ids))
        predictions += len(ids) - 1
    assert held.predictions == predictions
    assert held.documents == 20
    assert figures["loss"] == pytest.approx(nats / predictions, rel=TOLERANCE)
    assert figures["perplexity"] == pytest.approx(math.exp(nats / predictions), rel=10 * TOLERANCE)
    size = sum(len(text.encode()) for text in tiny.sentences(60)[40:])
    assert figures["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=TOLERANCE)


def test_the_unigram_model_counts_train_tokens_and_adds_one(data: Dataset) -> None:
    vocabulary = data.vocabulary
    train = [token for tokens in texts_of(data, "train") for token in (*tokens, vocabulary.eos)]
    scored = [token for tokens in texts_of(data, "validation") for token in (*tokens, vocabulary.eos)]
    by_hand = [-math.log((train.count(token) + 1) / (len(train) + vocabulary.size)) for token in scored]
    held = held_out(data, "validation", 8, seed=1, most_tokens=10**9)
    assert unigram_loss(data, held)["loss"] == pytest.approx(np.mean(by_hand), rel=1e-12)


def test_a_choice_of_windows_has_its_share_of_the_bytes(data: Dataset) -> None:
    whole = held_out(data, "validation", 8, seed=1, most_tokens=10**9)
    part = held_out(data, "validation", 8, seed=1, most_tokens=60)
    assert whole.whole_split
    assert not part.whole_split
    assert 60 <= part.predictions < 68
    assert part.documents > 4
    assert part.bytes == pytest.approx(whole.bytes * part.predictions / whole.predictions)
    assert {(*one.context, *one.answer) for one in part.windows} <= {
        (*one.context, *one.answer) for one in whole.windows
    }
    assert part == held_out(data, "validation", 8, seed=1, most_tokens=60)
    assert part != held_out(data, "validation", 8, seed=2, most_tokens=60)


def test_an_empty_split_is_the_users_error(tmp_path: Path) -> None:
    tiny.dataset(tmp_path, {"train": ["a file."], "validation": []})
    with pytest.raises(InputError, match=r"validation split is empty.*corpus\.validation_share"):
        held_out(Dataset(tmp_path), "validation", 8, seed=1, most_tokens=10)


@given(st.lists(st.integers(5, 99), max_size=40), st.integers(1, 12))
def test_windows_predict_each_token_once_within_the_length(document: list[int], length: int) -> None:
    number = -(-(len(document) + 1) // length)
    cut = [window(document, eos=3, number=n, length=length) for n in range(number)]
    assert [token for one in cut for token in one.answer] == [*document, 3]
    assert all(1 <= len(one.answer) <= length for one in cut)
    before = [3, *document]
    assert [one.context for one in cut] == [[before[start]] for start in range(0, len(before), length)]


def test_likelihoods_do_not_depend_on_the_batch(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_bigram(tiny.config(), data.vocabulary)
    random = np.random.default_rng(0)
    items = [
        Continuation(
            random.integers(150, size=random.integers(1, 9)).tolist(), random.integers(150, size=n).tolist()
        )
        for n in (1, 5, 2, 9, 3, 3, 1)
    ]
    by_hand = []
    for item in items:
        ids = [item.context[-1], *item.answer]
        by_hand.append(sum(model.logs[a, b] for a, b in itertools.pairwise(ids)))
    for tokens in (1, 20, 8192):
        monkeypatch.setattr(scoring, "TOKENS_PER_BATCH", tokens)
        assert log_likelihoods(model, items) == pytest.approx(by_hand, rel=TOLERANCE)


def test_batches_hold_every_item_once_and_no_more_than_they_may() -> None:
    lengths = np.random.default_rng(0).integers(1, 600, size=300).tolist()
    batches = list(batches_by_length(lengths))
    assert sorted(index for batch in batches for index in batch) == list(range(300))
    assert all(len(batch) * max(lengths[i] for i in batch) <= scoring.TOKENS_PER_BATCH for batch in batches)
