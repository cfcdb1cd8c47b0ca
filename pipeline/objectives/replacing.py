"""ELECTRA's two encoders as one list of layers (Clark et al. 2020): a generator, then a discriminator.

    generator      reads the text with hidden tokens and says what may stand there
    replace        draws a token for each hidden one, which takes its place
    discriminator  reads that and says of every token whether it was drawn

Both have the same embeddings of words, positions and types. What is drawn is a function of the generator's
probabilities and of a number in the batch, so it does not depend on layouts, micro batches or restarts, and
no gradient goes through it. The generator predicts at the hidden tokens alone.
"""

from dataclasses import replace
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from megatron.core import ModelParallelConfig, parallel_state
from megatron.core.tensor_parallel.mappings import (
    copy_to_tensor_model_parallel_region,
    gather_from_sequence_parallel_region,
)
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.costs import flops
from pipeline.models.activations import ACTIVATIONS
from pipeline.models.beside import beside
from pipeline.models.build import Builder
from pipeline.models.heads import MLMHead, without_padding
from pipeline.models.layer import Flow, Layer
from pipeline.models.linear import WholeLinear
from pipeline.objectives.losses import token_log_probabilities

GENERATOR = "generator."
"""Prefix of the generator's own weights."""
SHARED = ("words", "positions", "types", "embedding_norm")
"""The layers that both have."""
DRAWS = 2**31
"""The batch's `draws` are below it; -1 stands where nothing is hidden."""


def two_encoders(build: Builder, generator: ModelConfig, density: float) -> list[Layer]:
    """The list, from tokens to `generator_losses` and `discriminator_logits`."""
    config = build.config.model_copy(update={"model": generator})
    narrow = Builder(config, build.lengths, build.tokens, build.megatron.params_dtype)
    cost = density * flops.head_cost(generator, build.lengths, build.rows)
    draw = partial(replace_hidden, tokens=build.tokens, parts=build.megatron.sequence_parallel)
    words = narrow.logits()
    replaced = replace(
        words,
        cost=cost,
        forward=draw,
        gives=("generator_losses", "drawn"),
        ends=(f"{GENERATOR}hidden", f"{GENERATOR}logit_bias", "originals", "draws"),
    )
    head = Layer("masked_head", MLMHead, (*narrow.common, narrow.rows), gives=("logit_bias",))
    first = narrow.layers(lambda _: [head])
    outputs = Layer("", nn.Identity, (), gives=("generator_losses", "drawn"))
    generating = beside([*first, outputs], GENERATOR)[:-1]
    return [_tied(layer) for layer in [*generating, replaced, *build.layers(discriminator)]]


def _tied(layer: Layer) -> Layer:
    """A layer of either encoder's embeddings as the one that both have."""
    name = layer.name.removeprefix(GENERATOR)
    return replace(layer, name=name, tie=name) if name in SHARED else layer


def in_generator(name: str) -> str:
    """What a weight of the generator as a model of its own is called in the list of both."""
    return name if name.startswith(tuple(f"{one}." for one in SHARED)) else f"{GENERATOR}{name}"


def replace_hidden(words: nn.Module, flow: Flow, *, tokens: int, parts: bool) -> Flow:
    """Tokens with those that the generator draws for hidden ones, and its losses.

    Gives `tokens` and `drawn` [B, S], the same twice, the second one for the loss; `generator_losses` [B, S],
    -ln p of the originals at hidden tokens, 0 elsewhere.
    """
    draws_SB, originals_SB = flow["draws"].t(), flow["originals"].t()
    hidden_SB = draws_SB >= 0
    hidden_SBH = flow[f"{GENERATOR}hidden"]
    if parts:
        hidden_SBH = gather_from_sequence_parallel_region(hidden_SBH, tensor_parallel_output_grad=True)
    else:
        hidden_SBH = copy_to_tensor_model_parallel_region(hidden_SBH)
    bias_V = without_padding(flow[f"{GENERATOR}logit_bias"], words.weight, tokens)
    # Taken sequence first, so that the gradient is contiguous: Megatron-core's sum over ranks loses others.
    logits_PV = F.linear(hidden_SBH[hidden_SB], words.weight, bias_V)
    losses_P = negative_logs(logits_PV, originals_SB[hidden_SB])
    losses_SB = losses_P.new_zeros(hidden_SB.shape).masked_scatter(hidden_SB, losses_P)
    drawn_P = drawn(logits_PV.detach(), draws_SB[hidden_SB])
    drawn_BS = flow["tokens"].t().masked_scatter(hidden_SB, drawn_P).t().contiguous()
    return {"tokens": drawn_BS, "drawn": drawn_BS, "generator_losses": losses_SB.t().contiguous()}


def negative_logs(logits_PV: Tensor, targets_P: Tensor) -> Tensor:
    """[P] -ln p of each target, from this tensor rank's columns."""
    return -token_log_probabilities(logits_PV.unsqueeze(1), targets_P.unsqueeze(0)).squeeze(0)


@torch.no_grad()
def drawn(logits_PV: Tensor, draws_P: Tensor) -> Tensor:
    """[P] a token each by the softmax of the logits, of which this is a tensor rank's part of the columns.

    The draw u of 2^31 equally likely ones takes the token in whose part of the sum of probabilities, added up
    in the order of ids, u lies.
    """
    group = parallel_state.get_tensor_model_parallel_group()
    rank = parallel_state.get_tensor_model_parallel_rank()
    largest_P = logits_PV.amax(1).float()
    dist.all_reduce(largest_P, dist.ReduceOp.MAX, group=group)
    sums_PV = (logits_PV.float() - largest_P.unsqueeze(1)).exp().cumsum(1, dtype=torch.float64)
    ends = [torch.empty_like(sums_PV[:, -1]) for _ in range(dist.get_world_size(group))]
    dist.all_gather(ends, sums_PV[:, -1].contiguous(), group=group)
    ends_PT = torch.stack(ends, 1).cumsum(1)
    place_P = (draws_P.double() + 0.5) / DRAWS * ends_PT[:, -1]
    holder_P = (place_P.unsqueeze(1) >= ends_PT).sum(1)
    before_P = ends_PT[:, rank] - sums_PV[:, -1]
    inside_P = torch.minimum(place_P - before_P, sums_PV[:, -1] * (1 - 1e-12))
    own_P = torch.searchsorted(sums_PV, inside_P.clamp(min=0).unsqueeze(1), right=True).squeeze(1)
    found_P = torch.where(holder_P == rank, own_P + rank * logits_PV.shape[1], 0)
    dist.all_reduce(found_P, group=group)
    return found_P


class DiscriminatorHead(nn.Module):
    """What says of every token whether it was drawn: dense, nonlinearity, one number."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.parts, size, std = megatron.sequence_parallel, model.hidden_size, model.initial_std
        self.dense = WholeLinear(megatron, size, size, bias=True, std=std)
        self.activation = ACTIVATIONS[model.activation]
        self.out = WholeLinear(megatron, size, 1, bias=True, std=std)
        for parameter in self.parameters():
            parameter.partial_gradient = False  # every rank sees the whole sequence

    def forward(self, flow: Flow) -> Flow:
        """Add `discriminator_logits` [B, S]: how likely each token is drawn, as a logit."""
        hidden_SBH = flow["hidden"]
        if self.parts:
            hidden_SBH = gather_from_sequence_parallel_region(hidden_SBH, tensor_parallel_output_grad=False)
        logits_SB1 = self.out(self.activation(self.dense(hidden_SBH)))
        return {"discriminator_logits": logits_SB1.squeeze(2).t()}


def discriminator(build: Builder) -> list[Layer]:
    """What stands behind an encoder that says of tokens whether they were drawn."""
    gives, ends = ("discriminator_logits",), ("hidden",)
    cost = build.lengths.inputs * flops.discriminator_cost(build.model)
    return [Layer("discriminator", DiscriminatorHead, build.common, cost, gives=gives, ends=ends)]
