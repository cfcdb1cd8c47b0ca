"""The order of samples: every position once per epoch, whatever the blocks are; seeking without reading."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.contract.dataset import BLOCK_ROW, TOKENIZER, Shard, write_manifest
from pipeline.data.order import SampleOrder
from tests.pipeline import tiny

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
import sys, time
from pathlib import Path
import numpy as np
from data_prep.contract.dataset import Dataset
from pipeline.data.stream import Cutting, SampleStream
started = time.process_time()
stream = SampleStream(Dataset(Path(sys.argv[1])), "train", Cutting(2048, 4096), seed=1)
(epoch, window, places, rows), = stream.order.locate(np.array([10**9]))
spans = stream.order.stream(epoch).spans(*stream.order.bounds(window))
# ru_maxrss would count the parent before exec; the high-water mark of the new memory map does not.
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.process_time() - started, peak, epoch, len(spans))
"""


def write_hollow_dataset(folder: Path, blocks: int, blocks_per_shard: int) -> None:
    """A manifest and a block table as large as they get, with no shards behind them."""
    vocabulary = tiny.vocabulary(folder / TOKENIZER)
    table = np.zeros(blocks, BLOCK_ROW)
    table["tokens"] = np.random.default_rng(0).integers(400_000, 800_000, blocks)
    table["documents"] = 600
    table["shard"] = np.arange(blocks) // blocks_per_shard
    shards = [
        Shard(
            path=f"train/shard-{number:05d}.tar",
            bytes=10**8,
            sha256="0" * 64,
            documents=600 * len(rows),
            tokens=int(rows["tokens"].sum()),
            text_bytes=1,
            blocks=len(rows),
        )
        for number, rows in enumerate(np.split(table, blocks // blocks_per_shard))
    ]
    assert vocabulary.size < 1 << 16
    write_manifest(folder, {"train": list(zip(shards, np.split(table, len(shards)), strict=True))})


def test_a_million_blocks_open_and_seek_in_a_second(tmp_path: Path) -> None:
    """6 x 10^11 tokens in 10,000 shards that are not there; sample 10^9 is in the fourth epoch."""
    write_hollow_dataset(tmp_path, 1_000_000, 100)
    command = [sys.executable, "-c", SEEK, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, kilobytes, epoch, spans = (float(part) for part in result.stdout.split())
    assert epoch == 10**9 // -(-600_600 * 10**6 // 2048)
    assert 10 < spans < 25  # 4,096 x 2,048 positions of blocks of 600,600 on average
    assert kilobytes < 500_000
    assert seconds < 1.0  # of processor time, so that a busy machine does not matter; 0.3 in fact
