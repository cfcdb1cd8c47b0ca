"""Blocks by their number, straight from the tars at the offsets of the block table.

A shard's size is compared with the manifest when it is opened, each block's checksums are verified when it is
first read: a shuffled order takes one block here and one there, and must not read whole shards for that. A
corrupt block stops the run with its shard's name, or is left out and counted where the recipe says so.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import Block, Dataset
from data_prep.contract.settings import InputError
from pipeline.data.remote import RemoteDataset


class BlockReader:
    """Random access to the blocks of one split."""

    def __init__(self, dataset: Dataset, split: str, skip_corrupt: bool = False) -> None:
        self.dataset, self.split, self.skip_corrupt = dataset, split, skip_corrupt
        self.table = dataset.block_table(split)
        self.corrupt: set[int] = set()
        self._verified = np.zeros(len(self.table), dtype=bool)
        self._shards: dict[int, Any] = {}

    def positions(self) -> NDArray[np.int64]:
        """[blocks] positions of the token stream: a block's tokens, and one `<eos>` for each document."""
        sizes: NDArray[np.int64] = self.table["tokens"].astype(np.int64)
        return sizes + self.table["documents"]

    def read(self, index: int) -> Block | None:
        """The block; None where it is corrupt and may be left out. Raises `InputError` otherwise."""
        if index in self.corrupt:
            return None
        row = self.table[index]
        try:
            block = self.dataset.read_block(self._shard(int(row["shard"])), row, not self._verified[index])
        except InputError as error:
            if not self.skip_corrupt:
                raise
            self.corrupt.add(index)
            print(f"left out: {error}", file=sys.stderr)
            return None
        self._verified[index] = True
        return block

    def expect(self, indices: Sequence[int]) -> None:
        """Say which blocks will be read next, so that those of a remote dataset are fetched ahead."""
        if isinstance(self.dataset, RemoteDataset):
            self.dataset.prefetch(self.split, self.table[list(indices)])

    @property
    def place(self) -> str:
        """The dataset's folder or address."""
        return self.dataset.address if isinstance(self.dataset, RemoteDataset) else str(self.dataset.folder)

    def shard_name(self, index: int) -> str:
        """The path of the shard that holds a block."""
        path = self.dataset.split(self.split).shards[int(self.table[index]["shard"])].path
        return f"{self.place}/{path}"

    def _shard(self, index: int) -> Any:
        if index not in self._shards:
            self._shards[index] = self.dataset.open_shard(self.split, index)
        return self._shards[index]
