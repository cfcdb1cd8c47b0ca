"""The hash behind every random choice: published test values, uniformity, independence of what is near."""

import numpy as np

from pipeline.objectives.draws import (
    WEYL,
    combine,
    halves,
    key,
    mix,
    uniform,
    words,
)


def test_splitmix64_gives_the_published_sequence() -> None:
    """The first outputs of the reference implementation (Vigna, splitmix64.c) for the seed 1234567."""
    state = np.uint64(1234567) + np.arange(1, 6, dtype=np.uint64) * np.uint64(WEYL)
    assert mix(state).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_order_and_every_part_matter() -> None:
    assert len({key(1, 2), key(2, 1), key(1, 2, 0), key(0, 1, 2), key(1), key(2)}) == 6
    assert combine(7, np.arange(4))[3] == key(7, 3)
    assert combine(np.arange(4), 9, -1)[2] == key(2, 9, -1)
    assert combine(5, 6).tolist() == [key(5, 6)]


def test_uniform_is_uniform_in_every_column_and_row() -> None:
    drawn = uniform(combine(5, np.arange(2000)), 500)
    # The mean of n uniform numbers has standard deviation 1/sqrt(12 n); 5 of them.
    assert abs(drawn.mean() - 0.5) < 5 / np.sqrt(12 * drawn.size)
    assert np.abs(drawn.mean(axis=0) - 0.5).max() < 5 / np.sqrt(12 * 2000)
    assert np.abs(drawn.mean(axis=1) - 0.5).max() < 5 / np.sqrt(12 * 500)
    counts = np.bincount((drawn.ravel() * 100).astype(int), minlength=100)
    assert np.abs(counts / drawn.size - 0.01).max() < 5 * np.sqrt(0.01 * 0.99 / drawn.size)


def test_neighbouring_keys_and_purposes_are_unrelated() -> None:
    drawn = uniform(combine(np.arange(1000)), 400)
    other = uniform(combine(np.arange(1000)), 400, purpose=1)
    for a, b in ((drawn[1:], drawn[:-1]), (drawn[:, 1:], drawn[:, :-1]), (drawn, other)):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(a.size)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    keys = combine(3, np.arange(10))
    np.testing.assert_array_equal(words(keys, 7)[4], words(keys[4:5], 7)[0])
    assert halves(keys, 7).shape == (10, 7)
    assert halves(keys, 7).dtype == np.uint32
