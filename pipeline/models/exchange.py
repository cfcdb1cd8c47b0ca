"""Tokens to the data-parallel ranks that hold their experts, and back: expert parallelism.

A rank sends each of the others the tokens that chose an expert there, has what came go through its own
experts and sends the results back, by two all-to-alls; the backward pass does the same. Capacity is counted
before anything is sent, so that nothing else depends on the number of ranks.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from torch import Tensor


def expert_ranks() -> tuple[int, int]:
    """This rank among those that share the experts of a layer, and their number."""
    size = parallel_state.get_expert_model_parallel_world_size()
    return (parallel_state.get_expert_model_parallel_rank(), size) if size > 1 else (0, 1)


class AllToAll(torch.autograd.Function):
    """Rows in the order of the ranks that they go to, so many to each, and so many from each in theirs."""

    @staticmethod
    def forward(ctx: Any, rows_TH: Tensor, sent: list[int], received: list[int], group: Any) -> Tensor:
        ctx.sent, ctx.received, ctx.group = sent, received, group
        return all_to_all(rows_TH, sent, received, group)

    @staticmethod
    def backward(ctx: Any, gradient_TH: Tensor) -> tuple[Tensor, None, None, None]:
        return all_to_all(gradient_TH, ctx.received, ctx.sent, ctx.group), None, None, None


def all_to_all(rows: Tensor, sent: list[int], received: list[int], group: Any) -> Tensor:
    """What every rank of the group sends this one."""
    found = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(found, rows.contiguous(), received, sent, group=group)
    return found


def through_all_ranks(
    rows_TH: Tensor, counts: list[int], through: Callable[[Tensor, list[int]], Tensor]
) -> Tensor:
    """Tokens in the order of the experts of all ranks, so many of each, through these.

    `through` is called with tokens in the order of this rank's own experts. What arrives lies by ranks: with
    two of them and own experts 0 and 1, counts (2 1) and (1 1) make 0 0 1 0 1, of which 0 0 0 1 1 is made.
    """
    group, (_, ranks) = parallel_state.get_expert_model_parallel_group(), expert_ranks()
    own = len(counts) // ranks
    sent_RE = torch.tensor(counts, device=rows_TH.device).view(ranks, own)
    received_RE = all_to_all(sent_RE, [1] * ranks, [1] * ranks, group)
    sent, received = sent_RE.sum(1).tolist(), received_RE.sum(1).tolist()
    arrived_TH = AllToAll.apply(rows_TH, sent, received, group)
    experts = torch.arange(own, device=rows_TH.device).repeat(ranks)
    order = experts.repeat_interleave(received_RE.flatten()).argsort(stable=True)
    out_TH = through(arrived_TH[order], received_RE.sum(0).tolist())
    returned: Tensor = AllToAll.apply(out_TH[order.argsort()], received, sent, group)
    return returned
