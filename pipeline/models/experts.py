"""MLPs of which each token goes through a few: the router, the experts and what keeps them balanced.

Mixtures of today are dropless: a token reaches all experts that the router chooses for it. The Switch
Transformer (Fedus et al. 2022) has one active expert and a capacity: of each sequence an expert takes the
first so many tokens that chose it, and gives the others nothing, so that only the residual stream goes on.
Places are counted along each sequence, as transformers counts them, so that they depend on no micro batch and
no layout. A decoder that generates sees one token at a time and drops none.

Tensor-parallel ranks hold some of the experts whole each and send all tokens that chose these through; the
ranks' outputs are added up. With expert parallelism data-parallel ranks share these further, and exchange
tokens (`pipeline.models.exchange`).

The balance loss is that of Fedus et al. (equations 4 to 6) of each sequence by itself. With N experts of
which K are active, f the share of choices that fell on each (dropped ones too) and P its mean probability, it
is N sum(f P), 1 where all are equal. Padding is given to no expert and counts nowhere.
"""

from collections.abc import Callable
from typing import NamedTuple

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

from data_prep.contract.settings import InputError
from pipeline.config import ModelConfig
from pipeline.config.experts import Capacity
from pipeline.distributed.randomness import tensor_parallel_fork
from pipeline.models.activations import ACTIVATIONS
from pipeline.models.attention import input_std, output_std
from pipeline.models.exchange import expert_ranks, through_all_ranks
from pipeline.models.layer import Flow
from pipeline.models.linear import mark_sharded
from pipeline.models.mlp import MLP


class Routing(NamedTuple):
    """How a layer gives tokens to its experts."""

    capacity: Capacity | None = None
    """Tokens of a sequence that an expert takes; None takes all."""
    segments: str = ""
    """The name of what is 0 where there is padding; empty where nothing marks it."""

    @property
    def gives(self) -> tuple[str, ...]:
        """What such a layer adds to the flow."""
        return ("expert_loss", "expert_load", *(("expert_dropped",) if self.capacity else ()))


class Router(nn.Module):
    """One logit an expert, in float32 whatever the model computes in (Fedus et al. 2022, section 2.4)."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        assert model.experts
        self.jitter = model.experts.jitter
        shape = (model.experts.count, model.hidden_size)
        self.weight = nn.Parameter(torch.empty(shape, dtype=megatron.params_dtype))
        self.weight.initial_std = input_std(model, model.hidden_size)
        self.weight.partial_gradient = megatron.tensor_model_parallel_size > 1  # each rank's experts alone

    def forward(self, x_SBH: Tensor) -> Tensor:
        """Logits [S, B, E]; all tensor-parallel ranks draw the same noise."""
        x_SBH = x_SBH.float()
        if self.training and self.jitter:
            x_SBH = x_SBH * torch.empty_like(x_SBH).uniform_(1 - self.jitter, 1 + self.jitter)
        return F.linear(x_SBH, self.weight.float())


class ExpertLinear(nn.Module):
    """A matrix for each of this rank's experts."""

    def __init__(
        self, megatron: ModelParallelConfig, count: int, rows: int, columns: int, std: float
    ) -> None:
        super().__init__()
        rank, ranks = expert_ranks()
        parts = megatron.tensor_model_parallel_size * ranks
        if count % parts:
            raise InputError(f"{count} experts cannot be shared by {parts} ranks that have equally many")
        own = count // parts
        self.weight = nn.Parameter(torch.empty(own, rows, columns, dtype=megatron.params_dtype))
        self.weight.initial_std = std
        mark_sharded(self.weight, 0, 1)
        self.weight.cut_further = rank, ranks

    def forward(self, x_TC: Tensor, counts: list[int]) -> Tensor:
        """Tokens in the order of their experts, so many of each; one without any has a gradient of 0."""
        parts = zip(x_TC.split(counts), self.weight, strict=True)
        return torch.cat([F.linear(part, matrix) for part, matrix in parts])


class Choices(NamedTuple):
    """What the router makes of tokens."""

    logits: Tensor
    """[S, B, E]"""
    shares: Tensor
    """[S, B, E], probabilities."""
    gates: Tensor
    """[S, B, K], weights of the experts that are chosen."""
    picks: Tensor
    """[S, B, K], their numbers, and that of no expert where a choice is dropped."""
    counts: Tensor
    """[B, E], choices that fell on each expert, dropped ones too."""
    taken: Tensor
    """[E], those that it takes, over all sequences."""


class Experts(nn.Module):
    """In the place of a layer's MLP."""

    def __init__(
        self, model: ModelConfig, megatron: ModelParallelConfig, routing: Routing | None = None
    ) -> None:
        super().__init__()
        assert model.experts
        self.routing = routing or Routing()
        self.settings, self.parts = model.experts, megatron.sequence_parallel
        self.gated, self.activation = model.gated, ACTIVATIONS[model.activation]
        self.ranks, count = megatron.tensor_model_parallel_size, model.experts.count
        self.shares_experts = expert_ranks()[1] > 1
        hidden, inner = model.hidden_size, model.mlp_size
        self.router = Router(model, megatron)
        rows = inner * (2 if model.gated else 1)
        self.expert_up = ExpertLinear(megatron, count, rows, hidden, input_std(model, hidden))
        self.expert_down = ExpertLinear(megatron, count, hidden, inner, output_std(model, inner))
        self.shared = MLP(model, megatron, model.experts.shared) if model.experts.shared else None

    def forward(self, x_SBH: Tensor, flow: Flow) -> tuple[Tensor, Flow]:
        """The active experts' weighted sum, and what `Routing.gives` names of this layer alone."""
        common_SBH = None if self.shared is None else self.shared(x_SBH)
        if self.parts:
            x_SBH = gather_from_sequence_parallel_region(x_SBH, tensor_parallel_output_grad=True)
        else:
            x_SBH = copy_to_tensor_model_parallel_region(x_SBH)
        segments_BS = flow.get(self.routing.segments)
        real_SB = None if segments_BS is None else segments_BS.t() > 0
        chosen = self._choose(x_SBH, real_SB, generates="cache" in flow)
        out_SBH = self._sum(x_SBH, chosen)
        if self.parts:
            out_SBH = reduce_scatter_to_sequence_parallel_region(out_SBH)
        else:
            out_SBH = reduce_from_tensor_model_parallel_region(out_SBH)
        load_E = chosen.counts.sum(0)
        found = {"expert_loss": self._loss(chosen, real_SB), "expert_load": load_E.unsqueeze(0).int()}
        if self.routing.capacity:
            found["expert_dropped"] = (load_E - chosen.taken).sum().view(1).int()
        return out_SBH if common_SBH is None else out_SBH + common_SBH, found

    def _choose(self, x_SBH: Tensor, real_SB: Tensor | None, generates: bool) -> Choices:
        """Of a sequence's choices of an expert those at the first places are taken, up to its capacity.

        Tokens that choose the experts 0 1 0 0 stand at the places 1 1 2 3; with a capacity of 2 the last one
        is dropped.
        """
        logits_SBE = self.router(x_SBH)
        shares_SBE = logits_SBE.softmax(-1)
        gates_SBK, picks_SBK = shares_SBE.topk(self.settings.active, dim=-1)
        if self.settings.normalise:
            gates_SBK = gates_SBK / gates_SBK.sum(-1, keepdim=True)
        fell_SBE = F.one_hot(picks_SBK, self.settings.count).sum(2)
        if real_SB is not None:
            fell_SBE = fell_SBE * real_SB.unsqueeze(-1)
        taken_SBE, capacity = fell_SBE, self.routing.capacity
        if capacity and not generates:
            most = capacity.training if self.training else capacity.evaluation
            taken_SBE = fell_SBE * (fell_SBE.cumsum(0) <= most)
        if taken_SBE is not fell_SBE or real_SB is not None:
            picks_SBK = picks_SBK.where(taken_SBE.gather(-1, picks_SBK) > 0, self.settings.count)
        return Choices(logits_SBE, shares_SBE, gates_SBK, picks_SBK, fell_SBE.sum(0), taken_SBE.sum((0, 1)))

    def _own(self) -> slice:
        """The experts of this tensor-parallel rank."""
        count = self.settings.count // self.ranks
        first = count * parallel_state.get_tensor_model_parallel_rank()
        return slice(first, first + count)

    def _sum(self, x_SBH: Tensor, choices: Choices) -> Tensor:
        """What this rank's experts add to each token.

        With 2 active of 3 experts, tokens that pick (0 2) (2 1) have choices 0 2 2 1; in the order of experts
        these are choices 0, 3, 1, 2, of tokens 0, 1, 0, 1. Each choice has a row of its own in the end, so
        that no two are added in an order that differs from run to run. Dropped choices come last.
        """
        own, active, counts = self._own(), self.settings.active, choices.taken.tolist()
        x_TH = x_SBH.flatten(0, 1)
        order = choices.picks.flatten().argsort(stable=True)
        begin, end = sum(counts[: own.start]), sum(counts[: own.stop])
        chosen = order[begin:end]
        send = through_all_ranks if self.shares_experts else _through_own
        out_TH = send(x_TH[chosen // active], counts[own], self._through)
        weighted = out_TH * choices.gates.to(x_SBH.dtype).flatten()[chosen].unsqueeze(1)
        rows = weighted.new_zeros(len(order), x_TH.shape[1]).index_copy(0, chosen, weighted)
        return rows.view(len(x_TH), active, -1).sum(1).view_as(x_SBH)

    def _through(self, x_TH: Tensor, counts: list[int]) -> Tensor:
        """Tokens in the order of this rank's experts through these."""
        inner = self.expert_up(x_TH, counts)
        if self.gated:
            gate, value = inner.chunk(2, dim=-1)
            inner = self.activation(gate) * value
        else:
            inner = self.activation(inner)
        if self.training and self.settings.dropout:
            with tensor_parallel_fork():
                inner = F.dropout(inner, self.settings.dropout)
        out_TH: Tensor = self.expert_down(inner, counts)
        return out_TH

    def _loss(self, choices: Choices, real_SB: Tensor | None) -> Tensor:
        """[B] the balance and z losses by their weights; each rank has the gradient of its experts' part."""
        own, settings = self._own(), self.settings
        weights_SB = torch.ones_like(choices.logits[..., 0]) if real_SB is None else real_SB.float()
        weights_SB = weights_SB / weights_SB.sum(0).clamp(min=1.0)
        load_BE = choices.counts[:, own] / choices.counts.sum(1, keepdim=True).clamp(min=1)
        mean_BE = (choices.shares[..., own] * weights_SB.unsqueeze(-1)).sum(0)
        loss_B = settings.balance * settings.count * (load_BE * mean_BE).sum(1)
        if settings.z:
            squares_SB = choices.logits.logsumexp(-1).square()
            loss_B = loss_B + settings.z * (squares_SB * weights_SB).sum(0) / self.ranks
        found: Tensor = reduce_from_tensor_model_parallel_region(loss_B)
        return found


def _through_own(
    rows_TH: Tensor, counts: list[int], through: Callable[[Tensor, list[int]], Tensor]
) -> Tensor:
    """What `through_all_ranks` is where a rank has all of its tensor-parallel rank's experts."""
    return through(rows_TH, counts)


def with_layers_before(flow: Flow, found: Flow) -> Flow:
    """What a layer's experts gave, added to that of the layers before it."""
    if "expert_loss" not in flow:
        return found
    joined = {name: torch.cat((flow[name], one)) for name, one in found.items() if name != "expert_loss"}
    return {"expert_loss": flow["expert_loss"] + found["expert_loss"], **joined}
