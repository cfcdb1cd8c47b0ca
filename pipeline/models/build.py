"""A recipe's model as a list of layers, the same for one process and for every parallel layout.

What stands behind the last block is a `Head`, a list of layers that a task makes with the builder's help.
"""

from collections.abc import Callable
from functools import partial

import torch
from megatron.core import ModelParallelConfig

from pipeline.config import ModelConfig, PipelineConfig
from pipeline.costs import flops
from pipeline.costs.lengths import Lengths
from pipeline.models.attention import FAN_IN
from pipeline.models.block import Block, BlockKind
from pipeline.models.context import Mask, MemoryMask, RelativePositions, Rotary
from pipeline.models.embeddings import (
    PositionTable,
    Projection,
    Sinusoids,
    TokenEmbedding,
    TypeTable,
    drop,
    embed,
    project,
)
from pipeline.models.experts import Routing
from pipeline.models.heads import logits
from pipeline.models.layer import Flow, Layer
from pipeline.models.linear import megatron_config
from pipeline.models.norm import Dropout, Norm, normalise

Forward = Callable[[torch.nn.Module, Flow], Flow]
WORDS, CODES = "words", "codes"
"""Names of the table of texts, and of that of a decoder which says other things than its encoder reads."""
STACK_ENDS = {
    "": ("mask", "local_mask", "rotary", "local_rotary", "positions", "segments", "prefix"),
    "encoder.": ("mask", "rotary"),
    "decoder.": ("mask", "rotary", "memory_mask", "memory", "encoder_segments"),
}
"""What nothing after a stack's last block needs, by the stack's prefix."""


class Builder:
    """The layers of one model; a stack is embeddings, what its blocks share, blocks."""

    def __init__(
        self,
        config: PipelineConfig,
        lengths: Lengths,
        vocabulary_size: int,
        dtype: torch.dtype,
        says: int | None = None,
    ) -> None:
        """`lengths` are those of the batches, which the balance of pipeline stages depends on.

        `says` counts the ids of a decoder with a table of its own, which says other things than its encoder
        reads.
        """
        self.config, self.model, self.lengths = config, config.model, lengths
        self.megatron = megatron_config(dtype, config.parallel.sequence)
        self.common: tuple[ModelConfig, ModelParallelConfig] = (self.model, self.megatron)
        self.read_rows = flops.padded_vocabulary(vocabulary_size)
        self.tokens, self.said = (vocabulary_size, WORDS) if says is None else (says, CODES)
        self.rows = flops.padded_vocabulary(self.tokens)

    def layers(self, head: "Head") -> list[Layer]:
        """The list, from tokens to what the head gives."""
        kind = self.model.architecture
        stacks = self._stack("encoder.", causal=False) if kind == "encoder_decoder" else []
        prefix = "decoder." if kind == "encoder_decoder" else ""
        return [*stacks, *self._stack(prefix, causal=kind != "encoder"), *head(self)]

    def project_out(self) -> list[Layer]:
        """From the width of the residual stream to that of the word table, where they differ."""
        if not self.model.word_size or self.model.word_size_of == "embeddings":
            return []
        return [Layer("project_out", Projection, (*self.common, False), forward=project)]

    def logits(self) -> Layer:
        """The output words: the word table itself where it is tied."""
        scale, parts = self.model.logit_scale, self.megatron.sequence_parallel
        predict = partial(
            logits, tokens=self.tokens, scale=scale, softcap=self.model.logit_softcap, parts=parts
        )
        name = self.said if self.model.tied_output else "head"
        cost = flops.head_cost(self.model, self.lengths, self.rows)
        return self._words(name, predict, gives="logits", ends=("hidden", "logit_bias"), cost=cost)

    def _stack(self, prefix: str, *, causal: bool) -> list[Layer]:
        inner = prefix == "encoder."
        tokens, segments = ("encoder_tokens", "encoder_segments") if inner else ("tokens", "segments")
        embedded = partial(embed, tokens=tokens, scale=self.model.embedding_scale)
        return [
            self._words(WORDS if inner else self.said, embedded, gives="hidden", ends=(tokens,)),
            *self._embeddings(prefix),
            *self._context(prefix, causal, segments),
            *self._blocks(prefix, causal),
            *self._last(prefix),
        ]

    def _words(
        self, name: str, forward: Forward, *, gives: str, ends: tuple[str, ...], cost: float = 0.0
    ) -> Layer:
        """One use of a table of words or codes; all uses of the same name share it."""
        shared = self.model.tied_output or self.model.architecture == "encoder_decoder"
        std, table = self.model.initial_std, name in (WORDS, CODES)
        if self.model.initialization in FAN_IN:
            std = 1.0 if table else self.model.hidden_size**-0.5
        return Layer(
            name,
            TokenEmbedding,
            (*self.common, self.read_rows if name == WORDS else self.rows, std),
            cost,
            tie=name if shared and table else None,
            forward=forward,
            gives=(gives,),
            ends=ends,
        )

    def _embeddings(self, prefix: str) -> list[Layer]:
        found = []
        project_in = Layer(f"{prefix}project_in", Projection, (*self.common, True), forward=project)
        of_all = self.model.word_size_of == "embeddings"
        if self.model.word_size and not of_all:
            found.append(project_in)
        if self.model.positions == "learned":
            table = (*self.common, self.config.position_table)
            found.append(Layer(f"{prefix}positions", PositionTable, table))
        if self.model.positions == "sinusoidal":
            found.append(Layer(f"{prefix}positions", Sinusoids, self.common))
        if self.model.token_types:
            found.append(Layer(f"{prefix}types", TypeTable, self.common, ends=("token_types",)))
        if self.model.embedding_norm:
            norm = (*self.common, self.model.embedding_width)
            found.append(Layer(f"{prefix}embedding_norm", Norm, norm, forward=normalise))
        if self.model.dropout:
            found.append(Layer(f"{prefix}dropout", Dropout, self.common, forward=drop))
        return [*found, project_in] if of_all else found

    def _context(self, prefix: str, causal: bool, segments: str) -> list[Layer]:
        """What the blocks share; the last block ends it."""
        relative = self.model.positions == "relative"
        kind, name = (RelativePositions, "relative") if relative else (Mask, "mask")
        found = [
            Layer(
                f"{prefix}{name}",
                kind,
                (*self.common, causal, segments),
                tie=f"{prefix}{name}".replace(".", "_") if relative else None,
                gives=("mask", "local_mask"),
                local=True,
            )
        ]
        if self.model.positions == "rope":
            given = ("rotary", "local_rotary")
            found.append(Layer(f"{prefix}rotary", Rotary, self.common, gives=given, local=True))
        if prefix == "decoder.":
            found.append(Layer("memory_mask", MemoryMask, (), gives=("memory_mask",), local=True))
        return found

    def _blocks(self, prefix: str, causal: bool) -> list[Layer]:
        model, inner = self.model, prefix == "encoder."
        count = model.encoder_depth if inner else model.layers
        costs = {routed: flops.block_cost(model, self.lengths, inner, routed) for routed in (False, True)}
        shared = model.shared_layers
        kinds = [self._kind(i, prefix) for i in range(count)]
        ends = STACK_ENDS[prefix] + (("target_segments",) if model.experts and not inner else ())
        return [
            Layer(
                f"{prefix}blocks.{0 if shared else i}",
                Block,
                (*self.common, causal, kind),
                costs[kind.routing is not None],
                tie="block" if shared else None,
                gives=kind.routing.gives if kind.routing else (),
                ends=ends if i == count - 1 else (),
                block=True,
            )
            for i, kind in enumerate(kinds)
        ]

    def _kind(self, layer: int, prefix: str) -> BlockKind:
        """What a layer has that others of its stack may not have."""
        model = self.model
        which = "local_" if model.is_local(layer) else ""
        rotary = f"{which}rotary" if model.is_rotated(layer) else ""
        routing = self._routing(prefix) if model.has_experts(layer) else None
        first_norm = model.first_norm or layer > 0
        return BlockKind(prefix == "decoder.", f"{which}mask", rotary, first_norm, routing=routing)

    def _routing(self, prefix: str) -> Routing:
        """How tokens of a stack are given to experts."""
        assert self.model.experts
        length = self.lengths.targets if prefix == "decoder." else self.lengths.inputs
        capacity = self.model.experts.capacities(length, self.config.context_length)
        return Routing(capacity, "encoder_segments" if prefix == "encoder." else "target_segments")

    def _last(self, prefix: str) -> list[Layer]:
        """What stands at a stack's end: the norm of a pre-norm stack; the encoder's output is memory."""
        normed = self.model.norm_placement != "post"
        if prefix == "encoder.":
            module, arguments = (Norm, self.common) if normed else (torch.nn.Identity, ())
            name = "encoder.norm" if normed else "encoder.end"
            return [Layer(name, module, arguments, forward=remember, gives=("memory",), ends=("hidden",))]
        return [Layer(f"{prefix}norm", Norm, self.common, forward=normalise)] if normed else []


Head = Callable[[Builder], list[Layer]]
"""The layers behind the last block."""


def remember(last: torch.nn.Module, flow: Flow) -> Flow:
    """Finish the encoder's stack; what it gives is the decoder's memory."""
    return {"memory": last(flow["hidden"])}
