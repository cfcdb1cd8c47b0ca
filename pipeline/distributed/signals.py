"""What the ranks tell one another at the end of each step, in one all-reduce of a few integers.

The ranks have just waited for one another in the step's own reductions, so this one costs its latency alone.
Whatever depends on a signal, a clock or a disk is decided here, and so in the same step on every rank.
"""

from typing import NamedTuple

import torch
import torch.distributed as dist

from pipeline.distributed.world import World


class Signals(NamedTuple):
    """Each is the largest over all ranks once it is agreed on."""

    stop: int = 0
    """1 where a rank was asked to save and leave."""
    busy: int = 0
    """1 where a rank is still writing its share of a checkpoint."""
    failed: int = 0
    """0, or the world size less the rank that could not write; so the first of them is agreed on."""
    retry: int = 0
    """1 where a checkpoint that could not be written is to be tried again."""
    nonfinite: int = 0
    """1 where a rank found a loss or gradient that is not finite."""
    spike: int = 0
    """1 where a rank found the loss to be a spike."""
    host_megabytes: int = 0
    """The most memory that a rank's process has held."""
    device_megabytes: int = 0
    """The most memory that tensors have taken on a rank's GPU."""
    milliseconds: int = 0
    """How long writing took."""


def agree(mine: Signals, world: World) -> Signals:
    """The largest of every signal over all ranks; they call this together."""
    together = torch.tensor(mine, dtype=torch.int64, device=world.device)
    dist.all_reduce(together, op=dist.ReduceOp.MAX)
    return Signals(*together.tolist())
