"""Windows of the token stream in memory: blocks laid end to end, cut into slots that samples come from.

Every rank lays out whole windows though it uses only its share of their slots. That costs about a microsecond
per slot of 1,024 tokens, and is what makes the order independent of the ranks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import Block
from pipeline.data.order import SampleOrder
from pipeline.data.packing import best_fit, rearrange, split_long

LONG = 128
"""Tokens of a document from which on documents are copied one by one, which takes a while for each."""
ReadBlock = Callable[[int], Block | None]


@dataclass(frozen=True)
class Window:
    """R slots of W positions, as `Samples` describes them.

    `documents` counts those that begin in the window, `cuts` the slots or pieces that begin inside one.
    """

    tokens: NDArray[Any]
    following: NDArray[Any]
    lengths: NDArray[np.int64]
    breaks: NDArray[np.bool_] | None
    documents: int
    cuts: int


@dataclass(frozen=True)
class StreamSlice:
    """Positions of an epoch's stream with one more behind them, and which of them count.

    stream   [n + 1] tokens, each document behind its `<eos>`
    heads    [documents] where documents begin
    missing  positions of blocks that were left out
    """

    stream: NDArray[Any]
    heads: NDArray[np.int64]
    missing: list[slice]

    def real(self) -> NDArray[np.bool_]:
        """[n] which positions count."""
        real = np.ones(len(self.stream) - 1, dtype=bool)
        for place in self.missing:
            real[place] = False
        return real


def document_heads(block: Block) -> NDArray[np.int64]:
    """[documents] the positions in the block's stream of the `<eos>` tokens that head its documents."""
    sizes = block.lengths.astype(np.int64) + 1
    return np.cumsum(sizes) - sizes


def lay_out(block: Block, start: int, stop: int, eos: int, out: NDArray[Any]) -> NDArray[np.int64]:
    """Write positions [start, stop) of a block's stream to `out`; gives where documents begin in it."""
    heads = document_heads(block)
    first, last = np.searchsorted(heads, (start, stop))
    inside: NDArray[np.int64] = heads[first:last] - start
    tokens = np.asarray(block.tokens)[start - first : stop - last]  # slices of memory maps are slow
    if len(inside) * LONG < stop - start:
        _copy_documents(tokens, inside.tolist(), out)
    else:
        is_token = np.ones(stop - start, dtype=bool)
        is_token[inside] = False
        out[is_token] = tokens
    out[inside] = eos
    return inside


def _copy_documents(tokens: NDArray[Any], inside: list[int], out: NDArray[Any]) -> None:
    """Copy the tokens to `out` document by document, past the places that are their heads."""
    at = 0
    for number, head in enumerate([*inside, len(out)]):
        out[at:head] = tokens[at - number : head - number]
        at = head + 1


def read_stretch(
    order: SampleOrder, read: ReadBlock, epoch: int, start: int, stop: int, eos: int, dtype: np.dtype[Any]
) -> StreamSlice:
    """Positions [start, stop) of an epoch's stream."""
    stream = np.empty(stop - start + 1, dtype=dtype)
    stream[-1] = eos
    heads, missing, at = [np.zeros(0, np.int64)], [], 0
    for span in order.stream(epoch).spans(start, min(stop + 1, order.total)):
        block, place = read(span.block), slice(at, at + span.stop - span.start)
        if block is None:
            missing.append(place)
            stream[place] = eos
        else:
            heads.append(at + lay_out(block, span.start, span.stop, eos, stream[place]))
        at = place.stop
    found = np.concatenate(heads)
    return StreamSlice(stream, found[found < stop - start], missing)


def joined(stretch: StreamSlice, width: int) -> Window:
    """Cut wherever a slot is full; what is real in a slot moves to its front."""
    count = len(stretch.stream) - 1
    rows = -(-count // width)
    stream = np.pad(stretch.stream, (0, rows * width - count)) if count % width else stretch.stream
    tokens, following = stream[:-1].reshape(-1, width), stream[1:].reshape(-1, width)
    lengths = np.clip(count - np.arange(rows) * width, 0, width)
    if stretch.missing:
        real = np.pad(stretch.real(), (0, rows * width - count)).reshape(-1, width)
        front = np.argsort(~real, axis=1, kind="stable")
        tokens = np.take_along_axis(tokens, front, axis=1)
        following = np.take_along_axis(following, front, axis=1)
        lengths = real.sum(axis=1)
    whole = int((stretch.heads % width == 0).sum())
    return Window(tokens, following, lengths, None, len(stretch.heads), rows - whole)


def packed(stretch: StreamSlice, width: int, rows: int) -> Window:
    """Documents kept whole where they fit in `rows` slots."""
    count = len(stretch.stream) - 1
    real = stretch.real()
    edges = np.flatnonzero(real[1:] != real[:-1]) + 1
    starts = np.unique(np.concatenate([[0], edges, stretch.heads]))
    sizes = np.diff(starts, append=count)
    kept = real[starts]
    pieces = best_fit(split_long(starts[kept], sizes[kept], width), rows, width)
    tokens, following, breaks, lengths = rearrange(stretch.stream, pieces, rows, width)
    whole = int(np.isin(pieces.source, stretch.heads).sum())
    return Window(tokens, following, lengths, breaks, len(stretch.heads), len(pieces.source) - whole)
