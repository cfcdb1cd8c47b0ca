"""Causal and prefix LM, inside and across documents."""

import numpy as np

from pipeline.objectives.causal import causal_lm, inside_documents, prefix_lm
from tests.pipeline.objectives.rows import EOS, random_samples, samples


def test_literal_example() -> None:
    batch = causal_lm(samples([[3, 10, 11, 3, 12]]))
    assert batch["tokens"].tolist() == [[3, 10, 11, 3, 12]]
    assert batch["targets"].tolist() == [[10, 11, 3, 12, 3]]
    assert batch["weights"].tolist() == [[1, 1, 1, 1, 1]]
    assert (batch["tokens"].dtype, batch["weights"].dtype) == (np.int64, np.float32)


def test_what_is_not_real_has_no_weight() -> None:
    batch = causal_lm(samples([[3, 10], [3, 10, 11, 12]]))
    assert batch["weights"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]


def test_inside_documents_literal_example() -> None:
    extra = inside_documents(samples([[10, 11, 3, 12, 13, 3, 14]]), EOS)
    assert extra["segments"].tolist() == [[1, 1, 2, 2, 2, 3, 3]]
    assert extra["positions"].tolist() == [[0, 1, 0, 1, 2, 0, 1]]


def test_prefix_lm_leaves_out_what_lies_inside_the_prefix() -> None:
    batch = prefix_lm(random_samples(4000, 9))
    prefix = batch["prefix"]
    assert set(prefix) == set(range(1, 9))
    for length, weights in zip(prefix, batch["weights"], strict=True):
        assert weights.tolist() == [0] * (length - 1) + [1] * (10 - length)
    counts = np.bincount(prefix)[1:]
    assert np.abs(counts - 500).max() < 5 * np.sqrt(4000 * 1 / 8 * 7 / 8)


def test_prefix_of_a_short_sample_stays_inside_it() -> None:
    batch = prefix_lm(samples([[3, 10, 11], [3, 10]] * 50, width=8))
    assert (batch["prefix"][0::2] <= 2).all()
    assert (batch["prefix"][1::2] == 1).all()
    assert (batch["weights"].sum(axis=1) >= 1).all()
