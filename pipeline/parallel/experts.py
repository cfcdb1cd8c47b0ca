"""What DeepSpeed is told where data-parallel ranks hold different experts (`pipeline.models.exchange`).

It adds up the gradients of such parameters over the ranks that hold the same ones, and shares out their
optimizer states over these alone. Other ranks' tokens are in each gradient already, so it divides by all
data-parallel ranks, as for every other parameter.
"""

from collections.abc import Iterable

import torch.distributed as dist
from deepspeed.moe.layer import MoE
from deepspeed.utils import groups
from megatron.core import parallel_state
from torch import Tensor, nn

from pipeline.models.exchange import expert_ranks


class ExpertGroups(MoE):
    """The sign by which an engine knows that a model has experts: a module of DeepSpeed's own class.

    It has no parameters and is never called. The groups are Megatron-core's.
    """

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.num_experts = 0

    def set_deepspeed_parallelism(self, use_data_before_expert_parallel_: bool = False) -> None:
        """Give DeepSpeed the groups; an engine calls this before it asks for them."""
        name = group_name()
        experts = parallel_state.get_expert_model_parallel_group()
        copies = parallel_state.get_expert_data_parallel_group()
        found = (
            (groups._EXPERT_PARALLEL_GROUP, experts),
            (groups._EXPERT_PARALLEL_GROUP_RANKS, dist.get_process_group_ranks(experts)),
            (groups._EXPERT_DATA_PARALLEL_GROUP, copies),
            (groups._EXPERT_DATA_PARALLEL_GROUP_RANKS, dist.get_process_group_ranks(copies)),
        )
        for table, entry in found:
            table.clear()  # of a world that was left
            table[name] = entry


def group_name() -> str:
    """What DeepSpeed calls the groups."""
    return f"ep_size_{expert_ranks()[1]}"


def mark_experts(module: nn.Module, parameters: Iterable[nn.Parameter]) -> None:
    """Mark the parameters of experts, and the model that has some, where data-parallel ranks share them."""
    if expert_ranks()[1] == 1:
        return
    for parameter in parameters:
        if hasattr(parameter, "cut_further"):
            parameter.allreduce = False
            parameter.group_name = group_name()
    module.expert_groups = ExpertGroups()


def is_expert(parameter: Tensor) -> bool:
    """Whether data-parallel ranks hold different parts of a parameter, each several whole experts."""
    return not getattr(parameter, "allreduce", True)
