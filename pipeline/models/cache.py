"""What a decoder has seen, kept as keys and values: a new token then costs one position instead of all.

A `Cache` goes through the layers in the flow. Each attention module has buffers of its own in it, made when
they are first asked for, with room for all columns there will be. Rows of different lengths end in the same
column, so they are padded on the left.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KeysValues = tuple[Tensor, Tensor]
"""Keys and values [B, N, T, D]."""


class Cache:
    """Keys and values by attention module; the first `length` of `capacity` columns are filled."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.length = capacity, 0
        self._seen: dict[nn.Module, KeysValues] = {}
        self._memory: dict[nn.Module, KeysValues] = {}

    def append(self, module: nn.Module, keys: Tensor, values: Tensor) -> KeysValues:
        """Put S new columns behind those that are filled; all columns so far, the new ones too.

        `length` stays, for every module appends at the same place: who runs the layers moves it.
        """
        if module not in self._seen:
            self._seen[module] = (self._room(keys), self._room(values))
        first, last = self.length, self.length + keys.shape[2]
        assert last <= self.capacity
        buffers = self._seen[module]
        for buffer, new in zip(buffers, (keys, values), strict=True):
            buffer[:, :, first:last] = new
        return buffers[0][:, :, :last], buffers[1][:, :, :last]

    def once(self, module: nn.Module, make: Callable[[], KeysValues]) -> KeysValues:
        """Keys and values that do not change, those of an encoder's output: made the first time."""
        if module not in self._memory:
            self._memory[module] = make()
        return self._memory[module]

    def select(self, rows: Tensor) -> None:
        """Go on with these rows, in this order; a row may be taken more than once or not at all."""
        self.reorder(rows)
        self._memory = {
            module: (keys.index_select(0, rows), values.index_select(0, rows))
            for module, (keys, values) in self._memory.items()
        }

    def reorder(self, rows: Tensor) -> None:
        """The same where each row is replaced by one with the same encoder's output, as a beam by another."""
        self._seen = {
            module: (self._reordered(keys, rows), self._reordered(values, rows))
            for module, (keys, values) in self._seen.items()
        }

    @classmethod
    def joined(cls, caches: Sequence["Cache"], width: int, capacity: int, sources: int) -> "Cache":
        """The rows of several caches one below the other, all of whose last `width` columns are kept.

        A row with fewer has zeros before them. So have encoders' outputs of fewer than `sources` columns,
        behind them.
        """
        found = cls(capacity)
        found.length = width
        for module in caches[0]._seen:
            parts = [one._seen[module] for one in caches]
            lengths = [one.length for one in caches]
            found._seen[module] = (
                _ending_together([keys for keys, _ in parts], lengths, width, capacity),
                _ending_together([values for _, values in parts], lengths, width, capacity),
            )
        for module in caches[0]._memory:
            both = [one._memory[module] for one in caches]
            found._memory[module] = (
                padded_behind([keys for keys, _ in both], sources),
                padded_behind([values for _, values in both], sources),
            )
        return found

    def _room(self, new: Tensor) -> Tensor:
        rows, heads, _, size = new.shape
        return new.new_empty(rows, heads, self.capacity, size)

    def _reordered(self, buffer: Tensor, rows: Tensor) -> Tensor:
        filled = buffer[:, :, : self.length].index_select(0, rows)
        target = buffer if len(rows) == len(buffer) else self._room(filled)
        target[:, :, : self.length] = filled
        return target


def _ending_together(buffers: Sequence[Tensor], lengths: Sequence[int], width: int, capacity: int) -> Tensor:
    """[sum B, N, capacity, D]: the last of the filled columns of each end in column `width`."""
    rows = [len(buffer) for buffer in buffers]
    _, heads, _, size = buffers[0].shape
    found = buffers[0].new_zeros(sum(rows), heads, capacity, size)
    for part, buffer, length in zip(found.split(rows), buffers, lengths, strict=True):
        kept = min(width, length)
        part[:, :, width - kept : width] = buffer[:, :, length - kept : length]
    return found


def padded_behind(parts: Sequence[Tensor], width: int) -> Tensor:
    """[sum B, N, width, D]: parts [B, N, T, D] one below the other, with zeros behind each one's columns."""
    return torch.cat([F.pad(part, (0, 0, 0, width - part.shape[2])) for part in parts])


def columns_before(flow: dict[str, Tensor]) -> int:
    """Columns that a decoder has seen before those of the flow's tokens."""
    cache = flow.get("cache")
    return 0 if cache is None else cache.length
