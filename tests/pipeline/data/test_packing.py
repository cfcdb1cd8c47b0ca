"""Best-fit packing: everything placed once, whole where it fits."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.packing import best_fit, rearrange, split_long
from pipeline.data.windows import StreamSlice, packed

EOS = 3


@given(st.lists(st.integers(1, 16), min_size=1, max_size=40), st.integers(4, 16))
@settings(max_examples=300, deadline=None)
def test_every_position_is_placed_once_and_slots_fill_from_the_front(sizes: list[int], width: int) -> None:
    starts = np.cumsum(sizes) - sizes
    rows = -(-sum(sizes) // width)
    pieces = best_fit(split_long(starts, np.array(sizes), width), rows, width)
    stream = np.arange(sum(sizes) + 1)
    tokens, following, breaks, lengths = rearrange(stream, pieces, rows, width)
    real = np.arange(width) < lengths[:, None]
    assert sorted(tokens[real].tolist()) == list(range(sum(sizes)))
    np.testing.assert_array_equal(following[real], tokens[real] + 1)
    # Where nothing is said to break, the stream goes on.
    goes_on = real[:, 1:] & ~breaks[:, 1:]
    np.testing.assert_array_equal(tokens[:, 1:][goes_on], tokens[:, :-1][goes_on] + 1)
    assert breaks[:, 0][lengths > 0].all()


def test_literal_example() -> None:
    """Width 10: 7 + 3, 6 + 4 and 5 + 5 fit exactly, in whatever order they come."""
    sizes = np.array([3, 5, 6, 4, 7, 5])
    pieces = best_fit(split_long(np.cumsum(sizes) - sizes, sizes, 10), 3, 10)
    assert sorted(pieces.size.tolist()) == [3, 4, 5, 5, 6, 7]
    rows = [sorted(pieces.size[pieces.row == row].tolist()) for row in range(3)]
    assert sorted(rows) == [[3, 7], [4, 6], [5, 5]]


def test_what_fits_nowhere_is_cut_into_the_gaps() -> None:
    pieces = best_fit([(0, 6), (6, 6), (12, 8)], 2, 10)
    assert pieces.size.sum() == 20
    assert sorted(pieces.size.tolist()) == [2, 4, 6, 8]


def test_documents_are_rarely_cut() -> None:
    """2,000 documents of 20 to 900 tokens in slots of 1,024; joined, 918 of them would be cut."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 900, 2000)
    heads = np.cumsum(sizes) - sizes
    stream = np.full(sizes.sum() + 1, 50, np.uint16)
    stream[heads] = EOS
    tight = packed(StreamSlice(stream, heads, []), 1024, -(-int(sizes.sum()) // 1024))
    roomy = packed(StreamSlice(stream, heads, []), 1024, -(-int(sizes.sum() / 0.99) // 1024))
    assert tight.documents == roomy.documents == 2000
    assert tight.lengths.sum() == roomy.lengths.sum() == sizes.sum()
    assert tight.cuts < 200
    assert roomy.cuts == 0


def test_missing_blocks_are_left_out() -> None:
    stream = np.arange(100, 121)
    stream[[0, 5, 10, 15]] = EOS
    window = packed(StreamSlice(stream, np.array([0, 5, 10, 15]), [slice(5, 10)]), 10, 2)
    real = np.arange(10) < window.lengths[:, None]
    kept = [token for token in window.tokens[real].tolist() if token != EOS]
    assert sorted(kept) == [*range(101, 105), *range(111, 115), *range(116, 120)]
    assert window.tokens.shape == (2, 10)
