"""The one description of a model: a plain list of `Layer`s, each a module class with its arguments.

What goes from layer to layer is a `Flow`, tensors by name. Nothing is built until an engine asks, so a
pipeline stage allocates its own layers alone. Layers with the same `tie` share one module's weight, wherever
they are placed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, nn

Flow: TypeAlias = dict[str, Tensor]
"""Tensors by name. From a batch: those of `pipeline.objectives.batches` that are no labels. From layers:

    hidden [S, B, H]          the residual stream; with sequence parallelism this tensor rank's part of S
    memory [S, B, H]          the encoder's output, for the decoder behind it
    mask, local_mask          who sees whom, [B or 1, 1 or N, S, T]: True where a query may look, or what is
                              added to the scores; left out every query sees all, or in a decoder what is
                              not after it. T is S, with a cache all columns so far
    cache                     no tensor but a `pipeline.models.cache.Cache`, where a decoder generates; then
                              `segments` are of all T columns
    memory_mask [B, 1, 1, S]  True where the decoder may look at the encoder's output
    target_segments [B, S]    0 behind the last token of a decoder that has a weight, made where experts ask
    rotary, local_rotary      cosines and sines of rotary positions [2, ..., S, R]
    logit_bias [V]            added to the logits
    logits [S, B, V]          this tensor rank's columns
    next_sentence_logits [B, 2]
    discriminator_logits [B, S]
    drawn [B, S]              tokens of which a generator drew some
    generator_losses [B, S]   what it lost there
    boundary_losses [B, S]    of hidden tokens by what stands at the borders of their spans
    last_states [S, B, H]     those behind the last block, for a loss
    pooled [B, H]             an encoder's pooled first token
    scores [B or S, B, C]     what a head says of texts or of tokens
    values [B, S]             one number a position, float32
    pixels [B, Y, X, 3]       colours as bytes; [B, I, Y, X, 3] of the I images of a text
    visible [B, K]            patches that an encoder sees; left out it sees all
    restore [B, N]            where each patch stands in [visible ones; hidden ones]
    kept [B, 2 L]             false where a layer leaves out a branch (`pipeline.models.stochastic_depth`)
    restored [N, B, P]        what a decoder says of each patch
    image_states [N, B x I, H]  what stands for each patch of the I images of a text, as wide as words are
    media [I x L, B, V]       the latents of the I images of a text, for layers that look at them
    last_image [B, S]         the last image before each token, counted from 1; 0 before any
    image_places [B, I x N]   where in the text each of these stands; -1 for nowhere
    codes [B, N]              the number of each patch's code
    code_errors [B]           how far features are from their codes, float32
    image_features [B, D]     what stands for an image, and for a text
    text_features [B, D]
    said [B, Y, X, 3]         what a denoiser says of noised pictures
    told [B, H]               what it is told, as one vector
    scale [1]                 what cosines are multiplied by, float32
    expert_loss [B]           what keeps experts balanced, over the layers so far
    expert_load [L, E]        choices that fell on each expert of these layers
    expert_dropped [L]        those of them that found no place
"""

FLOATS = (
    "hidden",
    "value.hidden",
    "values",
    "generator.hidden",
    "generator.logit_bias",
    "generator_losses",
    "discriminator_logits",
    "last_states",
    "boundary.states",
    "boundary.logit_bias",
    "boundary_losses",
    "memory",
    "told",
    "said",
    "logit_bias",
    "next_sentence_logits",
    "pooled",
    "scores",
    "restored",
    "image_states",
    "media",
    "code_errors",
    "image_features",
    "text_features",
    "scale",
    "expert_loss",
)
"""What layers give that travels to the next pipeline stage; it has gradients and goes first."""


@dataclass(frozen=True)
class Layer:
    name: str
    """Prefix of its parameters' names, the same in every layout and every checkpoint."""
    module: Callable[..., nn.Module]
    """The module's class; called with a `Flow`, it returns what it adds or replaces."""
    arguments: tuple[Any, ...]
    """What the class is called with."""
    cost: float = 0.0
    """FLOPs of a forward pass per sample: what pipeline stages are balanced by."""
    tie: str | None = None
    """Key of the weight that this layer shares with others, without dots."""
    forward: Callable[[nn.Module, Flow], Flow] | None = None
    """What to call instead of the module itself, where a tied module is used in several ways."""
    gives: tuple[str, ...] = ()
    """Names that it adds to the flow."""
    ends: tuple[str, ...] = ()
    """Names that nothing after it needs, and that it takes out of the flow."""
    local: bool = False
    """Whether what it gives stays in its pipeline stage: later stages that need it have the layer too."""
    block: bool = False
    """Whether it is a transformer layer, which can be recomputed and compiled as a whole."""

    def build(self) -> nn.Module:
        """Allocate the module."""
        return self.module(*self.arguments)
