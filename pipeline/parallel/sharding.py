"""How a parameter is cut over tensor-parallel ranks, and put together again.

Megatron-core's modules mark their parameters: `tensor_model_parallel`, the dimension `partition_dim`, and
`partition_stride`, the number of matrices fused along that dimension that are each cut on their own (2 for
the gate and up projections of a gated MLP). The whole tensor is what a model without parallelism would hold.
"""

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from torch import Tensor


def is_sharded(parameter: Tensor) -> bool:
    """Whether tensor-parallel ranks hold different parts of this parameter."""
    return bool(getattr(parameter, "tensor_model_parallel", False))


def shard(whole: Tensor, parameter: Tensor, rank: int, size: int) -> Tensor:
    """The part of a whole tensor that `rank` of `size` holds.

    >>> # two fused matrices, gate rows 0-3 and up rows 4-7: rank 0 of 2 holds rows 0, 1, 4, 5
    """
    if size == 1 or not is_sharded(parameter):
        return whole
    dim, stride = parameter.partition_dim, parameter.partition_stride
    return torch.cat(whole.chunk(size * stride, dim)[rank::size], dim).contiguous()


def unshard(parts: list[Tensor], parameter: Tensor) -> Tensor:
    """The whole tensor from every rank's part, in rank order."""
    if len(parts) == 1 or not is_sharded(parameter):
        return parts[0]
    dim, stride = parameter.partition_dim, parameter.partition_stride
    pieces = [part.chunk(stride, dim) for part in parts]
    return torch.cat([piece[fused] for fused in range(stride) for piece in pieces], dim)


def gather(part: Tensor, parameter: Tensor) -> Tensor:
    """The whole tensor on every tensor-parallel rank; all of them must call this together."""
    group = parallel_state.get_tensor_model_parallel_group()
    size = dist.get_world_size(group)
    if size == 1 or not is_sharded(parameter):
        return part
    parts = [torch.empty_like(part) for _ in range(size)]
    dist.all_gather(parts, part.contiguous(), group=group)
    return unshard(parts, parameter)


def whole_shape(parameter: Tensor, size: int) -> torch.Size:
    """Shape of the whole tensor, from one rank's part."""
    shape = list(getattr(parameter, "ds_shape", parameter.shape))
    if is_sharded(parameter):
        shape[parameter.partition_dim] *= size
    return torch.Size(shape)
