"""MLPs of which each token goes through a few: the router, the experts and what keeps them balanced.

Every token reaches the experts that the router chooses for it, however many others they have (dropless).
Expert parallelism is over the tensor-parallel ranks: each holds some of the experts whole and sends all
tokens that chose them through; the ranks' outputs are added up.

The balance loss is that of Fedus et al. 2022 (equations 4 to 6) of each sequence by itself, so that it
depends on no micro batch and no layout. With N experts of which K are active, f the share of choices that
fell on each and P its mean probability, it is N sum(f P), 1 where all are equal.
"""

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig, parallel_state
from megatron.core.tensor_parallel.mappings import (
    copy_to_tensor_model_parallel_region,
    gather_from_sequence_parallel_region,
    reduce_from_tensor_model_parallel_region,
    reduce_scatter_to_sequence_parallel_region,
)
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.models.activations import ACTIVATIONS
from pipeline.models.attention import input_std, output_std
from pipeline.models.layer import Flow
from pipeline.models.linear import mark_sharded


class Router(nn.Module):
    """One logit an expert, in float32 whatever the model computes in (Fedus et al. 2022, section 2.4)."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        assert model.experts
        shape = (model.experts.count, model.hidden_size)
        self.weight = nn.Parameter(torch.empty(shape, dtype=megatron.params_dtype))
        self.weight.initial_std = input_std(model, model.hidden_size)
        self.weight.partial_gradient = megatron.tensor_model_parallel_size > 1  # each rank's experts alone

    def forward(self, x_SBH: Tensor) -> Tensor:
        """Logits [S, B, E]."""
        return F.linear(x_SBH.float(), self.weight.float())


class ExpertLinear(nn.Module):
    """A matrix for each of this rank's experts."""

    def __init__(
        self, megatron: ModelParallelConfig, count: int, rows: int, columns: int, std: float
    ) -> None:
        super().__init__()
        own = count // megatron.tensor_model_parallel_size
        self.weight = nn.Parameter(torch.empty(own, rows, columns, dtype=megatron.params_dtype))
        self.weight.initial_std = std
        mark_sharded(self.weight, 0, 1)

    def forward(self, x_TC: Tensor, counts: list[int]) -> Tensor:
        """Tokens in the order of their experts, so many of each; one without any has a gradient of 0."""
        parts = zip(x_TC.split(counts), self.weight, strict=True)
        return torch.cat([F.linear(part, matrix) for part, matrix in parts])


class Experts(nn.Module):
    """In the place of a layer's MLP."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        assert model.experts
        self.settings, self.parts = model.experts, megatron.sequence_parallel
        self.gated, self.activation = model.gated, ACTIVATIONS[model.activation]
        self.ranks, count = megatron.tensor_model_parallel_size, model.experts.count
        hidden, inner = model.hidden_size, model.mlp_size
        self.router = Router(model, megatron)
        rows = inner * (2 if model.gated else 1)
        self.expert_up = ExpertLinear(megatron, count, rows, hidden, input_std(model, hidden))
        self.expert_down = ExpertLinear(megatron, count, hidden, inner, output_std(model, inner))

    def forward(self, x_SBH: Tensor) -> tuple[Tensor, Flow]:
        """The active experts' weighted sum; `expert_loss` [B] and `expert_load` [1, E] of this layer."""
        if self.parts:
            x_SBH = gather_from_sequence_parallel_region(x_SBH, tensor_parallel_output_grad=True)
        else:
            x_SBH = copy_to_tensor_model_parallel_region(x_SBH)
        logits_SBE = self.router(x_SBH)
        shares_SBE = logits_SBE.softmax(-1)
        gates_SBK, picks_SBK = shares_SBE.topk(self.settings.active, dim=-1)
        if self.settings.normalise:
            gates_SBK = gates_SBK / gates_SBK.sum(-1, keepdim=True)
        counts_BE = F.one_hot(picks_SBK, self.settings.count).sum((0, 2))
        out_SBH = self._sum(x_SBH, gates_SBK.to(x_SBH.dtype), picks_SBK, counts_BE.sum(0).tolist())
        if self.parts:
            out_SBH = reduce_scatter_to_sequence_parallel_region(out_SBH)
        else:
            out_SBH = reduce_from_tensor_model_parallel_region(out_SBH)
        loss_B = self._loss(logits_SBE, shares_SBE, counts_BE)
        return out_SBH, {"expert_loss": loss_B, "expert_load": counts_BE.sum(0, keepdim=True).int()}

    def _own(self) -> slice:
        """The experts of this rank."""
        count = self.settings.count // self.ranks
        first = count * parallel_state.get_tensor_model_parallel_rank()
        return slice(first, first + count)

    def _sum(self, x_SBH: Tensor, gates_SBK: Tensor, picks_SBK: Tensor, counts: list[int]) -> Tensor:
        """What this rank's experts add to each token.

        With 2 active of 3 experts, tokens that pick (0 2) (2 1) have choices 0 2 2 1; in the order of experts
        these are choices 0, 3, 1, 2, of tokens 0, 1, 0, 1. Each choice has a row of its own in the end, so
        that no two are added in an order that differs from run to run.
        """
        own, active = self._own(), self.settings.active
        x_TH = x_SBH.flatten(0, 1)
        order = picks_SBK.flatten().argsort(stable=True)
        begin, end = sum(counts[: own.start]), sum(counts[: own.stop])
        chosen = order[begin:end]
        inner = self.expert_up(x_TH[chosen // active], counts[own])
        if self.gated:
            gate, value = inner.chunk(2, dim=-1)
            inner = self.activation(gate) * value
        else:
            inner = self.activation(inner)
        weighted = self.expert_down(inner, counts[own]) * gates_SBK.flatten()[chosen].unsqueeze(1)
        rows = weighted.new_zeros(len(order), x_TH.shape[1]).index_copy(0, chosen, weighted)
        return rows.view(len(x_TH), active, -1).sum(1).view_as(x_SBH)

    def _loss(self, logits_SBE: Tensor, shares_SBE: Tensor, counts_BE: Tensor) -> Tensor:
        """[B] the balance and z losses by their weights; each rank has the gradient of its experts' part."""
        own, settings = self._own(), self.settings
        choices = logits_SBE.shape[0] * settings.active
        load_BE, mean_BE = counts_BE[:, own] / choices, shares_SBE[..., own].mean(0)
        loss_B = settings.balance * settings.count * (load_BE * mean_BE).sum(1)
        if settings.z:
            loss_B = loss_B + settings.z * logits_SBE.logsumexp(-1).square().mean(0) / self.ranks
        found: Tensor = reduce_from_tensor_model_parallel_region(loss_B)
        return found


def with_layers_before(flow: Flow, found: Flow) -> Flow:
    """What a layer's experts gave, added to that of the layers before it."""
    if "expert_loss" not in flow:
        return found
    return {
        "expert_loss": flow["expert_loss"] + found["expert_loss"],
        "expert_load": torch.cat((flow["expert_load"], found["expert_load"])),
    }
