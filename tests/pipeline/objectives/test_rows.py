"""Picking by flat places equals NumPy's own ways."""

import numpy as np

from pipeline.objectives.draws import combine, fractions, uniform, words, words_at
from pipeline.objectives.rows import entries, latest, picked


def test_picking_equals_masks_and_pairs_of_indices() -> None:
    rng = np.random.default_rng(0)
    for rows, width in ((5, 17), (1, 1), (0, 4), (3, 0)):
        mask = rng.random((rows, width)) < 0.3
        flat, row = entries(mask)
        expected = np.nonzero(mask)
        np.testing.assert_array_equal(row, expected[0])
        np.testing.assert_array_equal(flat - row * width, expected[1])
        values = rng.integers(0, 99, (rows, width)).astype(np.uint16)
        places = rng.integers(0, max(width, 1), (rows, 6 if width else 0))
        np.testing.assert_array_equal(picked(values, places), np.take_along_axis(values, places, axis=1))
        expected_last = [
            [max((j for j in range(i + 1) if row[j]), default=0) for i in range(width)] for row in mask
        ]
        np.testing.assert_array_equal(latest(mask), np.reshape(expected_last, (rows, width)))


def test_a_word_can_be_drawn_at_its_place_alone() -> None:
    keys, places = combine(3, np.arange(7)), np.array([0, 5, 3, 11, 2, 2, 9])
    rows = np.arange(7)
    np.testing.assert_array_equal(words_at(keys, places, 41), words(keys, 12, 41)[rows, places])
    np.testing.assert_array_equal(fractions(words_at(keys, places, 41)), uniform(keys, 12, 41)[rows, places])
