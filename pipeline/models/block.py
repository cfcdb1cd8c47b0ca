"""A transformer layer of any family: attention, attention on an encoder's output, MLP."""

from collections.abc import Callable
from typing import NamedTuple

from megatron.core import ModelParallelConfig
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.models.attention import CrossAttention, self_attention
from pipeline.models.experts import Experts, Routing, with_layers_before
from pipeline.models.layer import Flow
from pipeline.models.mlp import MLP
from pipeline.models.norm import Dropout, Norm
from pipeline.models.stochastic_depth import Depth, thinned


class BlockKind(NamedTuple):
    """What a layer has that others of its stack may not have."""

    cross: bool = False
    """Whether it also looks at an encoder's output."""
    mask: str = "mask"
    """The name of its mask."""
    rotary: str = "rotary"
    """The name of its angles; empty where its queries and keys are not turned."""
    first_norm: bool = True
    """Whether there is a norm before its attention."""
    depth: Depth | None = None
    """Its place where branches may be left out in training; None never leaves out any."""
    routing: Routing | None = None
    """How tokens are given to its experts; None has one MLP."""


class Block(nn.Module):
    """A transformer layer."""

    def __init__(
        self, model: ModelConfig, megatron: ModelParallelConfig, causal: bool, kind: BlockKind
    ) -> None:
        super().__init__()
        self.kind, self.placement, self.beside = kind, model.norm_placement, model.parallel_block
        self.attention_norm = Norm(model, megatron) if kind.first_norm else nn.Identity()
        self.attention = self_attention(model, megatron, causal)
        if kind.cross:
            self.cross_norm = Norm(model, megatron)
            self.cross = CrossAttention(model, megatron)
        if self.beside != "one_norm":
            self.mlp_norm = Norm(model, megatron)
        if self.placement == "both":
            self.attention_out_norm = Norm(model, megatron)
            self.mlp_out_norm = Norm(model, megatron)
            if kind.cross:
                self.cross_out_norm = Norm(model, megatron)
        self.mlp = MLP(model, megatron) if kind.routing is None else Experts(model, megatron, kind.routing)
        self.dropout = Dropout(model, megatron)

    def forward(self, flow: Flow) -> Flow:
        """Add each branch to the residual stream."""
        x_SBH, mask, rotary = flow["hidden"], flow.get(self.kind.mask), flow.get(self.kind.rotary)
        cache = flow.get("cache")
        beside: Flow = {}

        def attend(x_SBH: Tensor) -> Tensor:
            return self.attention(x_SBH, mask, rotary, cache)

        def attend_memory(x_SBH: Tensor) -> Tensor:
            return self.cross(x_SBH, flow["memory"], flow.get("memory_mask"), cache)

        def through_experts(x_SBH: Tensor) -> Tensor:
            out_SBH, found = self.mlp(x_SBH, flow)
            beside.update(with_layers_before(flow, found))
            return out_SBH

        if self.beside != "none":
            return {"hidden": self._side_by_side(x_SBH, attend)}
        x_SBH = self._branch(x_SBH, "attention", thinned(attend, flow, self.kind.depth, 0))
        if self.kind.cross:
            x_SBH = self._branch(x_SBH, "cross", attend_memory)
        through = through_experts if isinstance(self.mlp, Experts) else self.mlp
        return {"hidden": self._branch(x_SBH, "mlp", thinned(through, flow, self.kind.depth, 1)), **beside}

    def _branch(self, x_SBH: Tensor, name: str, branch: Callable[[Tensor], Tensor]) -> Tensor:
        norm = getattr(self, f"{name}_norm")
        if self.placement == "post":
            return norm(x_SBH + self.dropout(branch(x_SBH)))
        if self.placement == "branch":
            return x_SBH + self.dropout(norm(branch(x_SBH)))
        out_SBH = branch(norm(x_SBH))
        if self.placement == "both":
            out_SBH = getattr(self, f"{name}_out_norm")(out_SBH)
        return x_SBH + self.dropout(out_SBH)

    def _side_by_side(self, x_SBH: Tensor, attend: Callable[[Tensor], Tensor]) -> Tensor:
        normed = self.attention_norm(x_SBH)
        for_mlp = normed if self.beside == "one_norm" else self.mlp_norm(x_SBH)
        return x_SBH + self.dropout(attend(normed)) + self.dropout(self.mlp(for_mlp))
