"""The order of samples: every position once per epoch, whatever the blocks are; seeking without reading."""

import resource
import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.order import SampleOrder

room = st.sampled_from([0.0, 0.005, 0.3])
blocks = st.lists(st.integers(0, 40), min_size=1, max_size=30).filter(sum)


@given(blocks, st.integers(1, 12), st.integers(1, 7), st.integers(0, 3), st.booleans(), room)
@settings(max_examples=200, deadline=None)
def test_every_position_of_every_block_once_per_epoch(
    sizes: list[int], width: int, window: int, epoch: int, fixed: bool, room: float
) -> None:
    order = SampleOrder(np.array(sizes), width, window, seed=5, fixed=fixed, room=room)
    if not room:
        assert order.samples == -(-sum(sizes) // width)
    seen = []
    for number in range(order.windows):
        start, stop = order.bounds(number)
        assert 0 < stop - start <= order.slots(number) * width
        spans = order.stream(epoch).spans(start, stop)
        seen += [(span.block, at) for span in spans for at in range(span.start, span.stop)]
    assert sorted(seen) == [(block, at) for block, size in enumerate(sizes) for at in range(size)]


@given(st.integers(1, 60), st.integers(1, 7), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_every_slot_once_per_epoch(samples: int, window: int, epoch: int) -> None:
    order = SampleOrder(np.array([samples * 4]), 4, window, seed=5)
    slots = []
    for found, number, places, rows in order.locate(epoch * samples + np.arange(samples)):
        assert found == epoch
        assert (places >= number * window).all()
        slots += (number * window + rows).tolist()
    assert sorted(slots) == list(range(samples))


def test_epochs_seeds_and_windows_differ() -> None:
    order = SampleOrder(np.full(50, 100), 10, 100, seed=1)
    other = SampleOrder(np.full(50, 100), 10, 100, seed=2)
    arrangements = {
        tuple(order.stream(0).blocks.tolist()),
        tuple(order.stream(1).blocks.tolist()),
        tuple(other.stream(0).blocks.tolist()),
        tuple(range(50)),
    }
    assert len(arrangements) == 4
    assert order.shuffled(0, 0).tolist() != order.shuffled(0, 1).tolist()


def test_blocks_are_shuffled_uniformly() -> None:
    """Where block 0 of 8 goes in 4,000 epochs."""
    order = SampleOrder(np.full(8, 10), 10, 4, seed=3)
    places = [int(np.flatnonzero(order._stream(epoch).blocks == 0)[0]) for epoch in range(4000)]
    counts = np.bincount(places, minlength=8)
    assert np.abs(counts - 500).max() < 5 * np.sqrt(4000 / 8 * 7 / 8)


def test_a_fixed_order_has_the_same_windows_every_epoch_in_another_order() -> None:
    order = SampleOrder(np.full(20, 30), 10, 15, seed=1, fixed=True)
    np.testing.assert_array_equal(order.stream(0).blocks, order.stream(7).blocks)
    assert order.shuffled(0, 2).tolist() != order.shuffled(7, 2).tolist()


SEEK = """
import resource, sys, time
started = time.perf_counter()
import numpy as np
from pipeline.data.order import SampleOrder
from data_prep.contract.dataset import BLOCK_ROW
imported = time.perf_counter()
table = np.load(sys.argv[1], mmap_mode="r")
positions = table["tokens"].astype(np.int64) + table["documents"]
order = SampleOrder(positions, 2048, 4096, seed=1)
(epoch, window, places, rows), = order.locate(np.array([10**9]))
spans = order.stream(epoch).spans(*order.bounds(window))
print(time.perf_counter() - imported, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, epoch, len(spans))
"""


def test_a_million_blocks_open_and_seek_in_a_second(tmp_path: object) -> None:
    """A block table of one million rows; sample 10^9 of 2,048 tokens is in its fourth epoch."""
    from data_prep.contract.dataset import BLOCK_ROW

    table = np.zeros(1_000_000, BLOCK_ROW)
    rng = np.random.default_rng(0)
    table["tokens"], table["documents"] = rng.integers(400_000, 800_000, 1_000_000), 600
    np.save(f"{tmp_path}/blocks.npy", table)
    result = subprocess.run(
        [sys.executable, "-c", SEEK, f"{tmp_path}/blocks.npy"], capture_output=True, text=True, check=True
    )
    seconds, kilobytes, epoch, spans = (float(part) for part in result.stdout.split())
    assert (epoch, spans) == (3, spans)
    assert 10 < spans < 25  # 4,096 x 2,048 positions of blocks of 600,600 on average
    assert kilobytes < 500_000
    # A tenth of this on an idle machine; the limit of one second leaves room for a busy one.
    assert seconds < 1.0, resource.getrusage(resource.RUSAGE_CHILDREN)
