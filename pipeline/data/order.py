"""Which tokens sample i of epoch e holds: arithmetic on the block table alone, no file is read.

The epoch's blocks are put in an order drawn from (seed, epoch) and laid end to end into one stream, in which
a document takes its tokens and one position for the `<eos>` in front of it. Sample slot j is positions
[j x width, (j + 1) x width) of that stream, so every epoch has the same number of samples, every token is in
exactly one of them, and only the last can have padding. `window` neighbouring slots are shuffled together.
Where documents are to be rearranged inside a window, it covers a little less of the stream than it has room.

Seeking costs one pass over the block table per epoch (its order and running sums) and no more.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.objectives.draws import combine

BLOCKS, SLOTS = 1, 2  # what a hash is drawn for


@dataclass(frozen=True)
class Span:
    """Positions [start, stop) of the part of the stream that one block makes."""

    block: int
    start: int
    stop: int


@dataclass(frozen=True)
class EpochStream:
    """The blocks of an epoch in order, and the running sum of their positions."""

    blocks: NDArray[np.int64]
    ends: NDArray[np.int64]

    def spans(self, start: int, stop: int) -> list[Span]:
        """The parts of blocks that make up positions [start, stop) of the stream."""
        first = int(np.searchsorted(self.ends, start, side="right"))
        found = []
        while start < stop:
            end = int(self.ends[first])
            block = int(self.blocks[first])
            begin = int(self.ends[first - 1]) if first else 0
            if end > start:
                found.append(Span(block, start - begin, min(end, stop) - begin))
            start, first = max(start, min(end, stop)), first + 1
        return found


class SampleOrder:
    """The order of one split of one dataset.

    positions  [blocks] stream positions of each block: its tokens and its documents
    width      positions in a sample
    window     slots that are shuffled together
    seed       a number that stands for the seed and the manifest
    fixed      whether every epoch has the samples of epoch 0, shuffled anew inside the windows
    room       share of a window's positions that stays free
    """

    def __init__(
        self,
        positions: NDArray[np.int64],
        width: int,
        window: int,
        seed: int,
        fixed: bool = False,
        room: float = 0.0,
    ) -> None:
        self.positions, self.width, self.window = positions, width, window
        self.seed, self.fixed = seed, fixed
        self.total = int(positions.sum())
        self.capacity = window * width - int(window * width * room)
        self.windows = -(-self.total // self.capacity)
        last = self.total - (self.windows - 1) * self.capacity
        self.samples = (self.windows - 1) * window + -(-last * window // self.capacity) if self.total else 0
        self.stream = lru_cache(maxsize=2)(self._stream)
        self.shuffled = lru_cache(maxsize=4)(self._shuffled)

    def _stream(self, epoch: int) -> EpochStream:
        hashes = combine(self.seed, 0 if self.fixed else epoch, BLOCKS, np.arange(len(self.positions)))
        blocks = np.argsort(hashes)
        return EpochStream(blocks, np.cumsum(self.positions[blocks]))

    def _shuffled(self, epoch: int, window: int) -> NDArray[np.int64]:
        return np.argsort(combine(self.seed, epoch, SLOTS, window, np.arange(self.slots(window))))

    def slots(self, window: int) -> int:
        """How many samples a window has: `window`, but for an epoch's last."""
        return min(self.window, self.samples - window * self.window)

    def bounds(self, window: int) -> tuple[int, int]:
        """The positions [start, stop) of the stream that a window covers."""
        start = window * self.capacity
        return start, min(start + self.capacity, self.total)

    def locate(
        self, indices: NDArray[np.int64]
    ) -> list[tuple[int, int, NDArray[np.int64], NDArray[np.int64]]]:
        """Where samples of the endless sequence of epochs are.

        Takes sample indices [n], counted on over epochs; gives one (epoch, window, places, rows) for each
        window they fall in: `indices[places]` are rows `rows` of that window.
        """
        epochs, samples = np.divmod(indices, self.samples)
        windows, offsets = np.divmod(samples, self.window)
        codes = epochs * self.windows + windows
        if len(codes) and codes.min() == codes.max():  # as in nearly all batches
            epoch, window = int(epochs[0]), int(windows[0])
            return [(epoch, window, np.arange(len(codes)), self.shuffled(epoch, window)[offsets])]
        found = []
        for code in np.unique(codes):
            places = np.flatnonzero(codes == code)
            epoch, window = divmod(int(code), self.windows)
            found.append((epoch, window, places, self.shuffled(epoch, window)[offsets[places]]))
        return found
