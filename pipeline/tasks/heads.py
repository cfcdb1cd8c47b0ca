"""Layers behind the last block that say something of a text or of its tokens, by architecture.

    encoder             the pooled first token, dropout, a linear layer           (Devlin et al. 2019)
    decoder             the last token's state, a linear layer without bias       (Radford et al. 2018)
    encoder_decoder     the state of the last token, dense, tanh, linear          (Lewis et al. 2020)

Of an encoder's tokens each one's state has dropout and a linear layer. Under tensor parallelism every rank
holds a head whole and computes all of it.
"""

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from megatron.core.tensor_parallel.mappings import gather_from_sequence_parallel_region
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.models.build import Builder
from pipeline.models.layer import Flow, Layer
from pipeline.models.linear import WholeLinear
from pipeline.models.pooler import Pooler

NEW = ("pooler.", "classifier.")
"""Prefixes of the weights that a model to start from need not have."""
TAKEN = {"pooler.dense.": "next_sentence.pool."}
"""What a model with BERT's second task calls the same weights."""


class Head(nn.Module):
    """The last linear layer, and what else a head has of its own."""

    def __init__(
        self, model: ModelConfig, megatron: ModelParallelConfig, outputs: int, bias: bool, dense: bool
    ) -> None:
        super().__init__()
        self.parts, self.dropout = megatron.sequence_parallel, model.dropout
        size, std = model.hidden_size, model.initial_std
        self.dense = WholeLinear(megatron, size, size, bias=True, std=std) if dense else None
        self.out = WholeLinear(megatron, size, outputs, bias=bias, std=std)
        for parameter in self.parameters():
            parameter.partial_gradient = False  # every rank sees the whole sequence

    def whole(self, hidden_SBH: Tensor) -> Tensor:
        """All of the sequence, of which tensor ranks may hold parts."""
        if self.parts:
            return gather_from_sequence_parallel_region(hidden_SBH, tensor_parallel_output_grad=False)
        return hidden_SBH

    def scores(self, states: Tensor) -> Tensor:
        """From states [..., H] to outputs."""
        dropped = F.dropout(states, self.dropout, self.training)
        if self.dense is not None:
            dropped = F.dropout(torch.tanh(self.dense(dropped)), self.dropout, self.training)
        found: Tensor = self.out(dropped)
        return found


class PooledHead(Head):
    """Of an encoder's pooled first token."""

    def forward(self, flow: Flow) -> Flow:
        """Add `scores` [B, outputs]."""
        return {"scores": self.scores(flow["pooled"])}


class LastHead(Head):
    """Of the state at each row's last token."""

    def forward(self, flow: Flow) -> Flow:
        """Add `scores` [B, outputs]."""
        hidden_SBH = self.whole(flow["hidden"])
        last_B = flow["last"].to(torch.long)
        rows_B = torch.arange(len(last_B), device=last_B.device)
        return {"scores": self.scores(hidden_SBH[last_B, rows_B])}


class TokenHead(Head):
    """Of the state of every token."""

    def forward(self, flow: Flow) -> Flow:
        """Add `scores` [S, B, outputs]."""
        return {"scores": self.scores(self.whole(flow["hidden"]))}


def text_head(build: Builder, outputs: int) -> list[Layer]:
    """Layers that give `scores` [B, outputs] of whole texts."""
    kind = build.model.architecture
    if kind == "encoder":
        pooler = Layer("pooler", Pooler, build.common, gives=("pooled",))
        return [pooler, _classifier(build, PooledHead, outputs, ends=("pooled", "hidden"))]
    both = kind == "encoder_decoder"
    return [_classifier(build, LastHead, outputs, ends=("hidden", "last"), bias=both, dense=both)]


def token_head(build: Builder, outputs: int) -> list[Layer]:
    """Layers that give `scores` [S, B, outputs] of an encoder's tokens."""
    return [_classifier(build, TokenHead, outputs, ends=("hidden",))]


def _classifier(
    build: Builder,
    head: type[Head],
    outputs: int,
    ends: tuple[str, ...],
    bias: bool = True,
    dense: bool = False,
) -> Layer:
    arguments = (*build.common, outputs, bias, dense)
    return Layer("classifier", head, arguments, gives=("scores",), ends=ends)
