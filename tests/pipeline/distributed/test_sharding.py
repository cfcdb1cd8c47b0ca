"""Cutting a tensor over tensor-parallel ranks and putting it together again."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.distributed.sharding import cut_of, shard, shard_shape, unshard, whole_shape
from pipeline.models.initialize import draw


def marked(dim: int, stride: int) -> Tensor:
    """A parameter marked as Megatron-core marks its own."""
    parameter = nn.Parameter(torch.zeros(1, 1))
    parameter.tensor_model_parallel = True
    parameter.partition_dim, parameter.partition_stride = dim, stride
    return parameter


def test_two_fused_matrices_are_cut_each_alone() -> None:
    whole = torch.arange(8).unsqueeze(1)
    assert shard(whole, marked(0, 2), 0, 2).flatten().tolist() == [0, 1, 4, 5]
    assert shard(whole, marked(0, 2), 1, 2).flatten().tolist() == [2, 3, 6, 7]


@pytest.mark.parametrize(("dim", "stride"), [(0, 1), (0, 2), (1, 1)])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_unshard_undoes_shard(dim: int, stride: int, size: int) -> None:
    whole = torch.randn(16, 8)
    parameter = marked(dim, stride)
    parts = [shard(whole, parameter, rank, size) for rank in range(size)]
    cut = cut_of(parameter, size)
    assert torch.equal(unshard(parts, cut), whole)
    assert shard_shape([16, 8], cut) == list(parts[0].shape)
    parameter.data = parts[0]
    assert whole_shape(parameter, size) == whole.shape


def test_initial_weights_depend_on_seed_and_name_alone() -> None:
    shape = torch.Size((40, 50))
    first = draw("a", 1, shape, 0.02)
    assert torch.equal(first, draw("a", 1, shape, 0.02))
    assert not torch.equal(first, draw("b", 1, shape, 0.02))
    assert not torch.equal(first, draw("a", 2, shape, 0.02))
    assert abs(float(first.std()) - 0.02) < 0.001
