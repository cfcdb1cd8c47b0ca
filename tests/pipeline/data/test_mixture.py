"""The dealing of samples to datasets: counts never drift by a sample, and any place is found at once."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.maker import BatchMaker
from pipeline.data.mixture import LONGEST_PERIOD, Mixture, deal, whole_counts
from tests.pipeline import tiny
from tests.pipeline.data.corpora import random_documents, write_tokens

counts = st.lists(st.integers(1, 60), min_size=1, max_size=9)


@given(counts)
@settings(max_examples=300, deadline=None)
def test_running_counts_are_the_share_rounded_down_or_up(weights: list[int]) -> None:
    pattern, period = deal(weights), sum(weights)
    running = np.cumsum(pattern[:, None] == np.arange(len(weights)), axis=0)
    # In whole numbers: period x count must lie within one period of n x weight.
    drift = running * period - np.outer(np.arange(1, period + 1), weights)
    assert (np.abs(drift) < period).all()
    assert running[-1].tolist() == weights


def test_drift_over_periods_for_ordinary_weights() -> None:
    weights = [0.62, 0.2, 0.11, 0.05, 0.02]
    datasets, own = Mixture(weights).assign(np.arange(10_000))
    running = np.cumsum(datasets[:, None] == np.arange(5), axis=0)
    exact = np.outer(np.arange(1, 10_001), weights)
    assert np.abs(running - exact).max() < 1
    for dataset in range(5):
        np.testing.assert_array_equal(own[datasets == dataset], np.arange((datasets == dataset).sum()))


@given(st.lists(st.floats(0.001, 1000), min_size=2, max_size=6), st.integers(0, 10**12))
@settings(max_examples=30, deadline=None)
def test_seeking_agrees_with_counting(weights: list[float], start: int) -> None:
    mixture = Mixture(weights)
    indices = start + np.arange(3 * len(weights))
    datasets, own = mixture.assign(indices)
    for place, (dataset, number) in enumerate(zip(datasets.tolist(), own.tolist(), strict=True)):
        assert mixture.drawn(start + place)[dataset] == number
    assert sum(mixture.drawn(start)) == start
    total = sum(weights)
    for share, weight in zip(mixture.shares, weights, strict=True):
        assert abs(share - weight / total) <= 1.01 * len(weights) / LONGEST_PERIOD


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([1.0], [1]), ([3, 1], [3, 1]), ([0.7, 0.2, 0.1], [7, 2, 1]), ([0.5, 0.25], [2, 1]), ([1e-9, 1], None)],
)
def test_whole_counts(weights: list[float], expected: list[int] | None) -> None:
    found = whole_counts(weights)
    assert found == (expected or [1, LONGEST_PERIOD - 1])
    if expected:
        exact = [Fraction(str(weight)) / sum(Fraction(str(w)) for w in weights) for weight in weights]
        assert [Fraction(count, sum(found)) for count in found] == exact


def test_literal_pattern() -> None:
    assert deal([2, 1]).tolist() == [0, 0, 1]
    assert deal([1, 1, 2]).tolist() == [2, 0, 1, 2]


def test_the_report_tells_epochs_padding_and_cuts(tmp_path: Path) -> None:
    documents = random_documents(100, 60, 1)
    own = write_tokens(tmp_path / "own", {"train": documents, "validation": random_documents(5, 60, 2)})
    write_tokens(tmp_path / "other", {"train": random_documents(20, 60, 3), "validation": []})
    config = tiny.config(
        train={"global_batch": 10, "micro_batch": 10},
        data={"sequence_length": 32, "mixture": [{"dataset": str(tmp_path / "other"), "weight": 0.25}]},
    )
    maker = BatchMaker(config, str(own.folder), 0, 1)
    for step in range(8):
        maker.step(step)
    first, second = maker.report(8)
    assert (first["share"], second["share"]) == (0.8, 0.2)
    positions = sum(len(document) + 1 for document in documents)
    samples = -(-positions // 32)
    assert first["samples_per_epoch"] == samples
    assert first["epochs"] == 64 / samples
    assert first["padding"] == pytest.approx(1 - positions / (samples * 32))
    assert first["cuts_per_document"] > 0
    assert second["epochs"] == 16 / second["samples_per_epoch"]
