"""Recall among the nearest, beside brute force."""

import numpy as np
import pytest

from pipeline.evaluation.images.retrieval import recalls, swapped


def test_equal_captions_are_right_and_chance_is_an_even_guess() -> None:
    rng = np.random.default_rng(0)
    captions = [f"caption {number}" for number in rng.integers(0, 15, 30)]
    scores = rng.normal(size=(30, 30)).astype(np.float32)
    for one in recalls(scores, captions, captions):
        nearest = [np.argsort(-row)[: one.k] for row in scores]
        hits = [any(captions[i] == captions[row] for i in some) for row, some in enumerate(nearest)]
        assert one.share == np.mean(hits)
        guesses = [
            np.mean(
                [captions[row] in [captions[i] for i in rng.permutation(30)[: one.k]] for _ in range(400)]
            )
            for row in range(30)
        ]
        assert one.chance == pytest.approx(np.mean(guesses), abs=0.02)
        assert one.low <= one.share <= one.high


def test_sides_of_a_relation_are_exchanged() -> None:
    assert (
        swapped("a red ring left of a blue cross", ["above", "left of"]) == "a blue cross left of a red ring"
    )
    assert swapped("a red ring", ["above"]) is None
