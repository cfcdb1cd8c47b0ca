"""The endless sequence of samples of one dataset: sample index in, `Samples` out."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from pipeline.data.order import SampleOrder
from pipeline.data.reader import BlockReader
from pipeline.data.windows import Window, load_window
from pipeline.objectives.draws import combine, key
from pipeline.objectives.samples import Samples

NOISE = 3  # what a hash is drawn for


class SampleStream:
    """Samples of one split, numbered on over the epochs.

    width         stream positions in a sample
    window        samples that are shuffled together
    fixed         whether every epoch has the same samples with the same noise (static masks)
    skip_corrupt  whether a corrupt block is left out instead of ending the run
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        width: int,
        window: int,
        seed: int,
        fixed: bool = False,
        skip_corrupt: bool = False,
    ) -> None:
        self.reader = BlockReader(dataset, split, skip_corrupt)
        self.eos = dataset.vocabulary.eos
        self.dtype = np.dtype(dataset.manifest.dtype)
        manifest_seed = key(seed, int(dataset.manifest.fingerprint, 16))
        self.order = SampleOrder(self.reader.positions(), width, window, manifest_seed, fixed)
        if not self.order.samples:
            raise InputError(f"{dataset.folder}: the split {split!r} holds no documents")
        self.window = lru_cache(maxsize=2)(self._window)

    def _window(self, epoch: int, window: int) -> Window:
        return load_window(self.order, self.reader.read, epoch, window, self.eos, self.dtype)

    def samples(self, indices: NDArray[np.int64]) -> Samples:
        """The samples with these indices [B], in this order."""
        pieces = self.order.locate(indices)
        windows = [self.window(0 if self.order.fixed else epoch, window) for epoch, window, _, _ in pieces]
        batch = (len(indices), self.order.width)
        tokens, following = np.empty(batch, self.dtype), np.empty(batch, self.dtype)
        lengths, keys = np.empty(len(indices), np.int64), np.empty(len(indices), np.uint64)
        for (epoch, number, places, rows), window in zip(pieces, windows, strict=True):
            tokens[places], following[places] = window.tokens[rows], window.following[rows]
            lengths[places] = window.lengths[rows]
            slots = number * self.order.window + rows
            keys[places] = combine(self.order.seed, NOISE, 0 if self.order.fixed else epoch, slots)
        return Samples(tokens, following, lengths, keys)
