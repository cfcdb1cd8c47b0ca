"""What a rank holds of a parameter while it is updated, and how ranks put together what needs all of it.

ZeRO cuts parameters anywhere: a rank holds one run of numbers of its tensor-parallel shard, flattened, or
nothing. What an optimizer needs of a whole parameter (a norm, means of rows, the matrix) is summed or
gathered over the ranks that hold the rest of it. All of them call these functions in the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.config import OptimizerConfig
from pipeline.distributed import sharding
from pipeline.distributed.sharding import Cut


class Piece(NamedTuple):
    """A run of numbers of one tensor-parallel shard."""

    name: str
    """The parameter's layout-free name."""
    shape: tuple[int, ...]
    """Shape of the whole parameter."""
    cut: Cut
    """How tensor-parallel ranks cut it."""
    tensor_rank: int
    """Which of its shards this rank has."""
    start: int
    """Where in the flattened shard the run begins."""
    length: int
    """How many numbers it has; 0 where another data-parallel rank holds them."""
    offset: int
    """Where the run lies in what DeepSpeed hands to the optimizer."""
    alone: bool
    """Whether one data-parallel rank holds all of the shard, or every rank does."""

    @property
    def shard_shape(self) -> list[int]:
        """Shape of this rank's shard."""
        return sharding.shard_shape(list(self.shape), self.cut)


@dataclass(frozen=True)
class Share:
    """A piece with its numbers: flat float32 views, which are updated in place."""

    piece: Piece
    weight: Tensor
    gradient: Tensor
    """Free to be overwritten by the update that is made of it."""
    states: dict[str, Tensor]
    """By name: as long as the weight, or whole and the same on every rank."""


@dataclass(frozen=True)
class Reach:
    """The ranks that hold the rest of what this one has a piece of."""

    data_group: Any
    """Data-parallel ranks, where they hold different pieces (ZeRO 1 to 3); None where they hold copies."""
    tensor_group: Any
    """Tensor-parallel ranks."""
    device: torch.device
    """Where messages must lie."""

    def add_up(self, shares: Sequence[Share], values: Sequence[Tensor]) -> list[Tensor]:
        """Each share's value, of any one shape on all ranks, summed over all pieces of its parameter."""
        found = list(values)
        if self.data_group is not None:
            found = self._reduced(found, self.data_group)
        cut = [index for index, share in enumerate(shares) if share.piece.cut.shards > 1]
        if cut:
            for index, value in zip(
                cut, self._reduced([found[i] for i in cut], self.tensor_group), strict=True
            ):
                found[index] = value
        return found

    def _reduced(self, values: list[Tensor], group: Any) -> list[Tensor]:
        together = torch.cat([value.flatten() for value in values]).to(self.device)
        dist.all_reduce(together, group=group)
        parts = together.to(values[0].device).split([value.numel() for value in values])
        return [part.view_as(value) for part, value in zip(parts, values, strict=True)]

    def gather(self, piece: Piece, flat: Tensor) -> Tensor:
        """The whole tensor of which every rank gives the run `flat`; on the device of messages."""
        shape = piece.shard_shape
        shard = flat.to(self.device)
        if self.data_group is not None and not piece.alone:
            shard = torch.zeros(torch.Size(shape).numel(), device=self.device, dtype=flat.dtype)
            shard[piece.start : piece.start + piece.length] = flat
            dist.all_reduce(shard, group=self.data_group)
        shard = shard.view(shape)
        if piece.cut.shards == 1:
            return shard
        shards = [torch.empty_like(shard) for _ in range(piece.cut.shards)]
        dist.all_gather(shards, shard.contiguous(), group=self.tensor_group)
        return sharding.unshard(shards, piece.cut)


def own_run(piece: Piece, whole: Tensor) -> Tensor:
    """What a piece has of a whole tensor, flat."""
    shard = sharding.part(whole, piece.cut, piece.tensor_rank)
    return shard.reshape(-1)[piece.start : piece.start + piece.length]


class Update(NamedTuple):
    """What a step is made with, beside the shares."""

    step: int
    """Counted from 1, without steps that were left out."""
    rate: float
    """Learning rate."""
    weight_decay: float
    optim: OptimizerConfig
    reach: Reach
