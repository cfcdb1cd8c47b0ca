"""How a parameter is cut over tensor-parallel ranks, and put together again.

Megatron-core's modules mark their parameters: `tensor_model_parallel`, the dimension `partition_dim`, and
`partition_stride`, the number of matrices fused along that dimension that are each cut on their own (2 for
the gate and up projections of a gated MLP). The whole tensor is what a model without parallelism would hold.

Experts are cut once more, over data-parallel ranks: `cut_further` is which of how many parts of its
tensor-parallel rank's a rank holds. Shards are numbered over both, a tensor-parallel rank's in a row.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Cut(NamedTuple):
    """How a whole tensor is cut."""

    shards: int
    """Number of ranks that hold a part."""
    dim: int
    """Dimension along which it is cut."""
    stride: int
    """Number of fused matrices along that dimension, each cut alone."""


UNCUT = Cut(1, 0, 1)


def is_sharded(parameter: Tensor) -> bool:
    """Whether tensor-parallel ranks hold different parts of this parameter."""
    return bool(getattr(parameter, "tensor_model_parallel", False))


def shard(whole: Tensor, parameter: Tensor, rank: int, size: int) -> Tensor:
    """The part of a whole tensor that `rank` of `size` holds.

    >>> # two fused matrices, gate rows 0-3 and up rows 4-7: rank 0 of 2 holds rows 0, 1, 4, 5
    """
    return part(whole, cut_of(parameter, size), own_shard(parameter, rank))


def part(whole: Tensor, cut: Cut, rank: int) -> Tensor:
    """The part of a whole tensor that `rank` holds."""
    if cut.shards == 1:
        return whole
    return torch.cat(whole.chunk(cut.shards * cut.stride, cut.dim)[rank :: cut.shards], cut.dim).contiguous()


def own_shard(parameter: Tensor, rank: int) -> int:
    """Which shard the tensor-parallel rank `rank` holds here."""
    further, parts = cut_further(parameter)
    return rank * parts + further


def cut_further(parameter: Tensor) -> tuple[int, int]:
    """Which part of its tensor-parallel rank's is here, and of how many."""
    found: tuple[int, int] = getattr(parameter, "cut_further", (0, 1))
    return found


def cut_of(parameter: Tensor, size: int) -> Cut:
    """How `size` tensor-parallel ranks cut this parameter."""
    size *= cut_further(parameter)[1]
    if size == 1 or not is_sharded(parameter):
        return UNCUT
    return Cut(size, parameter.partition_dim, parameter.partition_stride)


def shard_shape(whole: list[int], cut: Cut) -> list[int]:
    """Shape of one rank's part of a tensor of this whole shape."""
    shape = list(whole)
    shape[cut.dim : cut.dim + 1] = [size // cut.shards for size in shape[cut.dim : cut.dim + 1]]
    return shape


def unshard(parts: list[Tensor], cut: Cut) -> Tensor:
    """The whole tensor from every rank's part, in rank order."""
    if len(parts) == 1:
        return parts[0]
    pieces = [part.chunk(cut.stride, cut.dim) for part in parts]
    return torch.cat([piece[fused] for fused in range(cut.stride) for piece in pieces], cut.dim)


def whole_shape(parameter: Tensor, size: int) -> torch.Size:
    """Shape of the whole tensor, from one rank's part."""
    shape = list(getattr(parameter, "ds_shape", parameter.shape))
    if is_sharded(parameter):
        shape[parameter.partition_dim] *= size * cut_further(parameter)[1]
    return torch.Size(shape)
