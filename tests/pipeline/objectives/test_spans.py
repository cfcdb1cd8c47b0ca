"""T5's span corruption against T5's published lengths, a literal example and its distribution."""

import itertools

import numpy as np
import pytest

from pipeline.objectives.draws import combine
from pipeline.objectives.spans import (
    SpanLengths,
    corrupt,
    longest_raw,
    noise_mask,
    random_pieces,
    span_corruption,
)
from tests.pipeline.objectives.rows import EOS, PAD, random_samples, samples, special


@pytest.mark.parametrize(
    ("inputs", "raw", "targets"),
    [(128, 141, 29), (256, 284, 58), (512, 568, 114), (1024, 1137, 229), (2048, 2274, 456)],
)
def test_published_lengths(inputs: int, raw: int, targets: int) -> None:
    lengths = longest_raw(inputs, 0.15, 3.0)
    assert (lengths.raw, lengths.inputs, lengths.targets) == (raw, inputs, targets)
    assert longest_raw(inputs, 0.15, 3.0, closing=True).targets == targets + 1


def test_literal_example() -> None:
    tokens = np.array([[200, 201, 202, 203, 204, 205]])
    noise = np.array([[False, False, True, False, True, True]])
    inputs, targets = corrupt(tokens, noise, special())
    assert inputs.tolist() == [[200, 201, 110, 203, 109, EOS]]
    assert targets.tolist() == [[110, 202, 109, 204, 205, EOS]]
    _, closed = corrupt(tokens, noise, special(), closing=True)
    assert closed.tolist() == [[110, 202, 109, 204, 205, 108, EOS]]


@pytest.mark.parametrize("closing", [False, True])
def test_input_and_target_together_hold_the_sample(closing: bool) -> None:
    lengths = longest_raw(128, 0.15, 3.0, closing)
    given = random_samples(50, lengths.raw)
    batch = span_corruption(given, special(), lengths)
    assert batch["encoder_tokens"].shape == (50, 128)
    assert batch["targets"].shape == (50, lengths.targets)
    assert (batch["weights"] == 1).all()
    assert (batch["encoder_segments"] == 1).all()
    np.testing.assert_array_equal(batch["tokens"][:, 1:], batch["targets"][:, :-1])
    assert (batch["tokens"][:, 0] == PAD).all()
    for row, inputs, targets in zip(given.tokens, batch["encoder_tokens"], batch["targets"], strict=True):
        assert put_back(inputs.tolist(), targets.tolist()) == row.tolist()


def put_back(inputs: list[int], targets: list[int]) -> list[int]:
    """The sample that an input and a target were made of: each sentinel stands for what follows it."""
    sentinels = set(special().sentinels.tolist())
    spans: dict[int, list[int]] = {}
    for token in targets[:-1]:
        if token in sentinels:
            spans[token] = current = []
        else:
            current.append(token)
    assert inputs[-1] == targets[-1] == EOS
    return [t for token in inputs[:-1] for t in (spans[token] if token in sentinels else [token])]


def test_every_way_of_cutting_is_equally_likely() -> None:
    """6 items in 3 pieces: C(5, 2) = 10 compositions."""
    count = 20000
    pieces = random_pieces(combine(1, np.arange(count)), 6, 3, purpose=1)
    ways, counts = np.unique(pieces, axis=0, return_counts=True)
    expected = [c for c in itertools.product(range(1, 5), repeat=3) if sum(c) == 6]
    assert ways.tolist() == sorted(map(list, expected))
    assert np.abs(counts - count / 10).max() < 5 * np.sqrt(count * 0.1 * 0.9)


def test_noise_has_the_counts_of_the_formula_and_the_distribution_of_random_compositions() -> None:
    lengths = longest_raw(512, 0.15, 3.0)
    mask = noise_mask(combine(2, np.arange(3000)), lengths)
    assert (mask.sum(axis=1) == lengths.noise).all()
    assert (~mask[:, 0]).all()
    assert mask[:, -1].all()
    starts = mask[:, 1:] & ~mask[:, :-1]
    assert (starts.sum(axis=1) == lengths.spans).all()
    # The first of k pieces of n has size s with probability C(n - s - 1, k - 2) / C(n - 1, k - 1).
    n, k = lengths.noise, lengths.spans
    sizes = random_pieces(combine(3, np.arange(3000)), n, k, purpose=2).ravel()
    chance = np.cumprod([(k - 1) / (n - 1), *[(n - s - k + 1) / (n - s - 1) for s in range(1, 8)]])
    for size, probability in enumerate(chance, start=1):
        share = (sizes == size).mean()
        assert abs(share - probability) < 6 * np.sqrt(probability / sizes.size), size
    assert sizes.mean() == n / k


def test_a_short_sample_is_corrupted_by_its_own_length() -> None:
    lengths = longest_raw(64, 0.15, 3.0)
    rows = [list(range(200, 230)), [200], list(range(300, 300 + lengths.raw)), []]
    batch = span_corruption(samples(rows, lengths.raw), special(), lengths)
    own = SpanLengths(30)
    assert batch["weights"].sum(axis=1).tolist() == [own.targets, 0, lengths.targets, 0]
    assert batch["encoder_segments"].sum(axis=1).tolist() == [own.inputs, 0, lengths.inputs, 0]
    inputs = batch["encoder_tokens"][0][: own.inputs].tolist()
    assert put_back(inputs, batch["targets"][0][: own.targets].tolist()) == rows[0]
    assert (batch["encoder_tokens"][0][own.inputs :] == PAD).all()
