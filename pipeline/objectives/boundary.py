"""SpanBERT's span boundary objective as layers: hidden spans, from what stands at their borders.

Token i of a hidden span s..e is predicted from the states of the tokens s - 1 and e + 1, and a learned
embedding of its place i - s + 1 (Joshi et al. 2020, section 3.2): a dense layer, GELU and norm, twice, then
the word table with a bias of its own.
"""

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from megatron.core.tensor_parallel.mappings import (
    copy_to_tensor_model_parallel_region,
    gather_from_sequence_parallel_region,
)
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.costs import flops
from pipeline.models.activations import ACTIVATIONS
from pipeline.models.build import Builder
from pipeline.models.heads import without_padding
from pipeline.models.layer import Flow, Layer
from pipeline.models.linear import WholeLinear, mark_sharded
from pipeline.models.norm import Norm
from pipeline.objectives.losses import token_log_probabilities

STATES, BIAS = "boundary.states", "boundary.logit_bias"


class BoundaryHead(nn.Module):
    """From the states at a span's borders to one for each of its tokens."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig, rows: int) -> None:
        super().__init__()
        self.parts, size, std = megatron.sequence_parallel, model.hidden_size, model.initial_std
        dtype, place = megatron.params_dtype, flops.PLACE_SIZE
        self.places = nn.Parameter(torch.empty(flops.BOUNDARY_PLACES, place, dtype=dtype))
        self.places.initial_std = std
        self.first = WholeLinear(megatron, 2 * size + place, size, bias=True, std=std)
        self.first_norm = Norm(model, megatron)
        self.second = WholeLinear(megatron, size, size, bias=True, std=std)
        self.second_norm = Norm(model, megatron)
        self.activation = ACTIVATIONS[model.activation]
        for parameter in self.parameters():
            parameter.partial_gradient = False  # every rank sees the whole sequence
        self.bias = nn.Parameter(torch.zeros(rows // megatron.tensor_model_parallel_size, dtype=dtype))
        mark_sharded(self.bias, 0, 1)

    def forward(self, flow: Flow) -> Flow:
        """Add `boundary.states` [S, B, H], 0 where nothing is asked, and the bias of this rank's columns."""
        hidden_SBH = flow["hidden"]
        if self.parts:
            hidden_SBH = gather_from_sequence_parallel_region(hidden_SBH, tensor_parallel_output_grad=False)
        places_SB = flow["places"].t()
        asked_SB = places_SB >= 0
        row_P = asked_SB.nonzero()[:, 1]
        ends = [hidden_SBH[flow[side].t()[asked_SB], row_P] for side in ("left", "right")]
        read_PR = torch.cat((*ends, F.embedding(places_SB[asked_SB].long(), self.places)), 1)
        states_PH = self.first_norm(self.activation(self.first(read_PR)))
        states_PH = self.second_norm(self.activation(self.second(states_PH)))
        zeros_SBH = states_PH.new_zeros(hidden_SBH.shape)
        return {STATES: zeros_SBH.masked_scatter(asked_SB.unsqueeze(2), states_PH), BIAS: self.bias}


def boundary_losses(words: nn.Module, flow: Flow, *, tokens: int) -> Flow:
    """Add `boundary_losses` [B, S]: -ln p of the tokens that are asked for, 0 elsewhere."""
    asked_SB = flow["places"].t() >= 0
    states_SBH = copy_to_tensor_model_parallel_region(flow[STATES])
    bias_V = without_padding(flow[BIAS], words.weight, tokens)
    logits_P1V = F.linear(states_SBH[asked_SB], words.weight, bias_V).unsqueeze(1)
    targets_P = flow["originals"].t()[asked_SB]
    losses_P = -token_log_probabilities(logits_P1V, targets_P.unsqueeze(0)).squeeze(0)
    losses_SB: Tensor = losses_P.new_zeros(asked_SB.shape).masked_scatter(asked_SB, losses_P)
    return {"boundary_losses": losses_SB.t().contiguous()}


def boundary(build: Builder, density: float) -> list[Layer]:
    """The layers, which leave the residual stream as it is."""
    head = Layer(
        "boundary_head",
        BoundaryHead,
        (*build.common, build.rows),
        gives=(STATES, BIAS),
        ends=("left", "right"),
    )
    words = replace(
        build.logits(),
        cost=density * flops.head_cost(build.model, build.lengths, build.rows),
        forward=partial(boundary_losses, tokens=build.tokens),
        gives=("boundary_losses",),
        ends=(STATES, BIAS, "places", "originals"),
    )
    return [head, words]
