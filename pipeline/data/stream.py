"""The endless sequence of samples of one dataset: sample indices in, `Samples` out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from pipeline.data.order import SampleOrder
from pipeline.data.reader import BlockReader
from pipeline.data.windows import StreamSlice, Window, joined, packed, read_stretch
from pipeline.objectives.draws import combine, key, words
from pipeline.objectives.samples import Samples

NOISE, PARTNER = 3, 4  # what a hash is drawn for

ROOM = 0.005
"""What best-fit packing leaves free. Full windows of 4,096 slots then cut no document but at their edges;
with no room at all, up to one in a hundred is cut to fill the last gaps."""


@dataclass(frozen=True)
class Cutting:
    """How a token stream becomes samples.

    width        stream positions in a sample
    window       samples that are shuffled together
    best_fit     whether documents are kept whole where they fit
    fixed        whether every epoch has the same samples with the same noise
    pairs        whether each sample comes with a partner from its window
    """

    width: int
    window: int
    best_fit: bool = False
    fixed: bool = False
    pairs: bool = False


class SampleStream:
    """Samples of one split of a dataset, numbered on over the epochs.

    `documents` and `cuts` count, over the windows read so far, documents and how often one was cut.
    """

    def __init__(
        self, dataset: Dataset, split: str, cutting: Cutting, seed: int, skip_corrupt: bool = False
    ) -> None:
        self.dataset, self.cutting = dataset, cutting
        self.reader = BlockReader(dataset, split, skip_corrupt)
        self.eos = dataset.vocabulary.eos
        manifest_seed = key(seed, int(dataset.manifest.fingerprint, 16))
        room = ROOM if cutting.best_fit else 0.0
        self.order = SampleOrder(
            self.reader.positions(), cutting.width, cutting.window, manifest_seed, cutting.fixed, room
        )
        if not self.order.samples:
            raise InputError(f"{dataset.folder}: the split {split!r} holds no documents")
        self.documents = self.cuts = 0
        self.window = lru_cache(maxsize=2)(self._window)

    def _window(self, epoch: int, window: int) -> Window:
        start, stop = self.order.bounds(window)
        self.reader.expect([*self._blocks(epoch, window), *self._blocks(*self._next(epoch, window))])
        dtype = np.dtype(self.dataset.manifest.dtype)
        stretch = read_stretch(self.order, self.reader.read, epoch, start, stop, self.eos, dtype)
        loaded = self.cut(stretch, window)
        self.documents += loaded.documents
        self.cuts += loaded.cuts
        return loaded

    def cut(self, stretch: StreamSlice, window: int) -> Window:
        """The slots of a window, given its stretch of the stream."""
        if self.cutting.best_fit:
            return packed(stretch, self.cutting.width, self.order.slots(window))
        return joined(stretch, self.cutting.width)

    def _blocks(self, epoch: int, window: int) -> list[int]:
        spans = self.order.stream(epoch).spans(*self.order.bounds(window))
        return [span.block for span in spans]

    def _next(self, epoch: int, window: int) -> tuple[int, int]:
        if window + 1 < self.order.windows:
            return epoch, window + 1
        return (epoch if self.cutting.fixed else epoch + 1), 0

    def samples(self, indices: NDArray[np.int64]) -> Samples:
        """The samples with these indices [B], in this order."""
        parts = [self._part(*place) for place in self.order.locate(indices)]
        if len(parts) == 1:
            return parts[0][1]
        return merge([places for places, _ in parts], [samples for _, samples in parts])

    def _part(
        self, epoch: int, number: int, places: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Samples]:
        """The samples that one window gives to a batch, and their places in it."""
        epoch = 0 if self.cutting.fixed else epoch
        window = self.window(epoch, number)
        keys = combine(self.order.seed, NOISE, epoch, number * self.order.window + rows)
        partners = paired = None
        if self.cutting.pairs:
            others = max(len(window.tokens) - 1, 1)
            steps = 1 + (words(keys, 1, PARTNER)[:, 0] % np.uint64(others)).astype(np.int64)
            partner = (rows + steps) % len(window.tokens)
            partners = window.tokens[partner]
            paired = (partner != rows) & (window.lengths[partner] == self.order.width)
        breaks = None if window.breaks is None else window.breaks[rows]
        return places, Samples(
            window.tokens[rows], window.following[rows], window.lengths[rows], keys, breaks, partners, paired
        )

    @property
    def place(self) -> str:
        """The dataset's folder or address."""
        return self.reader.place

    def merge(self, places: Sequence[NDArray[np.int64]], parts: Sequence[Samples]) -> Samples:
        """One batch of several, the samples of each part at its places."""
        return merge(places, parts)

    def shards(self, indices: NDArray[np.int64]) -> set[str]:
        """The shards that the windows of some samples are read from."""
        names = set()
        for epoch, number, _, _ in self.order.locate(indices):
            names |= {self.reader.shard_name(block) for block in self._blocks(epoch, number)}
        return names


def merge(places: Sequence[NDArray[np.int64]], parts: Sequence[Samples]) -> Samples:
    """One batch of several, the samples of each part at its places."""
    order = np.argsort(np.concatenate(places))

    def joined_field(name: str) -> NDArray[np.generic] | None:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)[order]

    names = ("tokens", "following", "lengths", "keys", "breaks", "partners", "paired")
    return Samples(**{name: joined_field(name) for name in names})  # type: ignore[arg-type]
