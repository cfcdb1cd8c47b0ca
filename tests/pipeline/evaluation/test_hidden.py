"""Loss on hidden tokens against brute force over the very batches, with models known in closed form."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig
from pipeline.data.maker import BatchMaker
from pipeline.evaluation import hidden
from pipeline.objectives.batches import Batch
from tests.pipeline import tiny
from tests.pipeline.evaluation.fakes import Bigram, Sessionless, random_bigram

TOLERANCE = 1e-5
"""Relative; the logits are float32, brute force is float64."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("work") / "dataset"
    texts = tiny.sentences(90)
    tiny.dataset(folder, {"train": texts[:40], "validation": texts[40:]})
    return Dataset(folder)


def recipe(kind: str, **changes: dict[str, Any]) -> PipelineConfig:
    # The fakes read `tokens` alone; those of an encoder-decoder are the targets shifted right.
    sections: dict[str, dict[str, Any]] = {
        "objective": {"kind": kind, "noise_density": 0.4},
        "data": {"sequence_length": 16},
        "train": {"micro_batch": 3, "global_batch": 3, "validation_samples": 10**6},
    }
    return tiny.evaluation(**(sections | changes))


def every_batch(config: PipelineConfig, data: Dataset) -> list[Batch]:
    """The validation batches of training, in micro batches of another size than evaluation's."""
    return list(BatchMaker(config, str(data.folder), 0, 1).validation())


def by_hand(model: Bigram, batches: list[Batch], text_only: bool) -> tuple[float, float]:
    """Mean -ln p and share of right tokens, one prediction at a time."""
    nats, right = [], []
    reserved = 111
    for batch in batches:
        for row, column in zip(*np.nonzero(batch["weights"]), strict=True):
            target = int(batch["targets"][row, column])
            logs = model.logs[batch["tokens"][row, column]]
            if target >= reserved or not text_only:
                nats.append(-logs[target])
                right.append(int(logs.argmax()) == target)
    return float(np.mean(nats)), float(np.mean(right))


@pytest.mark.parametrize("kind", ["masked_lm", "span_corruption", "denoising"])
def test_loss_and_accuracy_are_those_of_the_hidden_tokens(data: Dataset, kind: str) -> None:
    config = recipe(kind)
    model = random_bigram(config, data.vocabulary)
    held = hidden.hidden(config, data)
    figures = hidden.model_loss(AnyInputs(model), held)
    batches = every_batch(config, data)
    loss, accuracy = by_hand(model, batches, text_only=True)
    assert figures["loss"] == pytest.approx(loss, rel=TOLERANCE)
    assert figures["accuracy"] == pytest.approx(accuracy)
    assert figures["perplexity"] == pytest.approx(math.exp(loss), rel=10 * TOLERANCE)
    assert figures["shuffled_loss"] == pytest.approx(loss, rel=TOLERANCE)  # a bigram reads no context
    assert held.whole_split
    if kind == "masked_lm":
        assert "target_loss" not in figures
    else:
        whole, _ = by_hand(model, batches, text_only=False)
        assert figures["target_loss"] == pytest.approx(whole, rel=TOLERANCE)
        assert whole != pytest.approx(loss, rel=1e-3)


@pytest.mark.parametrize("kind", ["masked_lm", "span_corruption", "denoising"])
def test_shuffling_moves_what_is_read_alone(data: Dataset, kind: str) -> None:
    held = hidden.hidden(recipe(kind), data)
    name = "tokens" if kind == "masked_lm" else "encoder_tokens"
    moved = 0
    for batch in held.batches:
        other = hidden.shuffled(batch, held.ordinary, 0)
        fixed = ~held.ordinary[batch[name]]
        if kind == "masked_lm":
            fixed |= batch["weights"] > 0
        np.testing.assert_array_equal(other[name][fixed], batch[name][fixed])
        np.testing.assert_array_equal(np.sort(other[name], axis=1), np.sort(batch[name], axis=1))
        moved += int((other[name] != batch[name]).sum())
        for unread in batch.keys() - {name}:
            np.testing.assert_array_equal(other[unread], batch[unread])
    assert moved > 0


class AnyInputs(Sessionless):
    """A bigram model that is given all inputs of a batch."""

    def __init__(self, model: Bigram) -> None:
        self.model, self.config, self.vocabulary = model, model.config, model.vocabulary
        self.seen: set[str] = set()

    def logits(self, tokens: torch.Tensor, **others: torch.Tensor) -> torch.Tensor:
        self.seen |= set(others)
        return self.model.logits(tokens)


@pytest.mark.parametrize("kind", ["masked_lm", "span_corruption"])
def test_the_unigram_model_is_asked_for_the_same_tokens(data: Dataset, kind: str) -> None:
    config, vocabulary = recipe(kind), data.vocabulary
    held = hidden.hidden(config, data)
    train = [int(token) for block in data.blocks("train") for token in block.tokens]
    predicted = [
        int(target)
        for batch in every_batch(config, data)
        for target in batch["targets"][batch["weights"] > 0]
        if target >= 111
    ]
    pieces = vocabulary.size - 111
    nats = [-math.log((train.count(token) + 1) / (len(train) + pieces)) for token in predicted]
    figures = hidden.unigram_loss(config, data, held)
    assert figures["loss"] == pytest.approx(np.mean(nats), rel=1e-12)
    common = max(sorted(set(train)), key=train.count)
    assert figures["accuracy"] == pytest.approx(predicted.count(common) / len(predicted))
    assert ("target_loss" in figures) == (kind == "span_corruption")


def test_the_unigram_model_of_whole_targets_knows_sentinels_from_train_targets(data: Dataset) -> None:
    config = recipe("span_corruption")
    held = hidden.hidden(config, data)
    figures = hidden.unigram_loss(config, data, held)
    maker = BatchMaker(config, str(data.folder), 0, 1)
    samples = maker.train.streams[0].order.samples
    train = [maker.make_batch(maker.train.samples(np.array([index]))) for index in range(samples)]
    seen, asked = (
        [int(token) for batch in batches for token in batch["targets"][batch["weights"] > 0]]
        for batches in (train, every_batch(config, data))
    )
    nats = [-math.log((seen.count(token) + 1) / (len(seen) + data.vocabulary.size)) for token in asked]
    assert figures["target_loss"] == pytest.approx(np.mean(nats), rel=1e-12)


def test_a_choice_of_samples_is_fixed_by_the_seed(data: Dataset) -> None:
    few = recipe("masked_lm", eval={"validation_tokens": 30})
    held = hidden.hidden(few, data)
    assert (held.samples, held.whole_split) == (3, False)  # 14 tokens of text a sample
    assert "seeded choice" in str(hidden.describe(few, data, held)["about"])
    assert held.tokens.tolist() == hidden.hidden(few, data).tokens.tolist()
    other = few.model_copy(update={"seed": few.seed + 1})
    assert held.tokens.tolist() != hidden.hidden(other, data).tokens.tolist()


def test_nothing_hidden_is_the_users_error(tmp_path: Path) -> None:
    tiny.dataset(tmp_path, {"train": ["a file."], "validation": ["a"]})
    config = recipe("masked_lm", objective={"kind": "masked_lm", "noise_density": 0.001})
    with pytest.raises(InputError, match=r"nothing is hidden.*corpus\.validation_share"):
        hidden.hidden(config, Dataset(tmp_path))
