"""Windows of the token stream in memory: blocks laid end to end, cut into slots that samples come from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import Block
from pipeline.data.order import SampleOrder

ReadBlock = Callable[[int], Block | None]


@dataclass(frozen=True)
class Window:
    """R slots of W positions, as `Samples` describes them."""

    tokens: NDArray[Any]
    following: NDArray[Any]
    lengths: NDArray[np.int64]
    breaks: NDArray[np.bool_] | None = None


def lay_out(block: Block, start: int, stop: int, eos: int, out: NDArray[Any]) -> None:
    """Write positions [start, stop) of a block's stream to `out`: its documents, each after an `<eos>`."""
    heads = document_heads(block)
    first, last = np.searchsorted(heads, (start, stop))
    is_token = np.ones(stop - start, dtype=bool)
    is_token[heads[first:last] - start] = False
    out[is_token] = block.tokens[start - first : stop - last]
    out[heads[first:last] - start] = eos


def document_heads(block: Block) -> NDArray[np.int64]:
    """[documents] the positions in the block's stream of the `<eos>` tokens that head its documents."""
    sizes = block.lengths.astype(np.int64) + 1
    return np.cumsum(sizes) - sizes


def load_window(
    order: SampleOrder, read: ReadBlock, epoch: int, window: int, eos: int, dtype: np.dtype[Any]
) -> Window:
    """Read and lay out one window of an epoch; positions of blocks that are left out count as not real."""
    start, stop = order.bounds(window)
    rows = -(-(stop - start) // order.width)
    stream = np.full(rows * order.width + 1, eos, dtype=dtype)
    missing: list[slice] = []
    at = 0
    for span in order.stream(epoch).spans(start, stop):
        block, place = read(span.block), slice(at, at + span.stop - span.start)
        if block is None:
            missing.append(place)
        else:
            lay_out(block, span.start, span.stop, eos, stream[place])
        at = place.stop
    if stop < order.total:
        stream[at] = _token_after(order, read, epoch, stop, eos)
    return _cut(stream, at, missing, order.width)


def _token_after(order: SampleOrder, read: ReadBlock, epoch: int, stop: int, eos: int) -> int:
    """The token at one position: what the last position of the window before it predicts."""
    (span,) = order.stream(epoch).spans(stop, stop + 1)
    block, out = read(span.block), np.full(1, eos, dtype=np.int64)
    if block is not None:
        lay_out(block, span.start, span.stop, eos, out)
    return int(out[0])


def _cut(stream: NDArray[Any], stop: int, missing: list[slice], width: int) -> Window:
    """Cut a stream whose first `stop` positions count; what is real in a slot moves to its front."""
    tokens, following = stream[:-1].reshape(-1, width), stream[1:].reshape(-1, width)
    lengths = np.clip(stop - np.arange(len(tokens)) * width, 0, width)
    if not missing:
        return Window(tokens, following, lengths)
    real = np.arange(tokens.size) < stop
    for place in missing:
        real[place] = False
    real = real.reshape(-1, width)
    front = np.argsort(~real, axis=1, kind="stable")
    return Window(
        np.take_along_axis(tokens, front, axis=1),
        np.take_along_axis(following, front, axis=1),
        real.sum(axis=1),
    )
