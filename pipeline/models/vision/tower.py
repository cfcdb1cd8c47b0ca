"""The layers of an image tower, from pixels to normed hidden states; all have names that begin with `image.`.

So what one training has learned of images another one starts with, whatever stands behind the tower.
"""

from typing import Any

from megatron.core import ModelParallelConfig
from torch import nn

from pipeline.config.vision import VisionConfig
from pipeline.costs import flops
from pipeline.costs.lengths import Lengths
from pipeline.costs.vision import window_cost
from pipeline.models.block import Block, BlockKind
from pipeline.models.embeddings import drop
from pipeline.models.layer import Layer
from pipeline.models.norm import Dropout, Norm, normalise
from pipeline.models.stochastic_depth import KEPT, Depth, rates
from pipeline.models.vision.patches import PatchEmbedding, PlanePositions
from pipeline.models.vision.swin import Merging, SwinBlock, sides

TOWER = "image."
"""Prefix of the tower's names."""


def tower(vision: VisionConfig, megatron: ModelParallelConfig, tokens: int | None = None) -> list[Layer]:
    """From `pixels` to `hidden` [S, B, H]; its blocks see so many tokens, or all."""
    found = [
        Layer(f"{TOWER}patches", PatchEmbedding, (vision, megatron), gives=("hidden",), ends=("pixels",))
    ]
    if vision.positions != "none":
        found.append(Layer(f"{TOWER}positions", PlanePositions, (vision, megatron), ends=("visible",)))
    if vision.embedding_norm:
        common = (vision.blocks, megatron)
        found.append(Layer(f"{TOWER}embedding_norm", Norm, common, forward=normalise))
    if vision.dropout:
        found.append(Layer(f"{TOWER}dropout", Dropout, (vision.blocks, megatron), forward=drop))
    if vision.architecture == "swin":
        found += _stages(vision, megatron)
    else:
        found += _blocks(vision, megatron, tokens or vision.tokens)
    last = (vision.blocks, megatron, vision.width)
    return [*found, Layer(f"{TOWER}norm", Norm, last, forward=normalise)]


def _blocks(vision: VisionConfig, megatron: ModelParallelConfig, tokens: int) -> list[Layer]:
    """Layers that see all tokens."""
    cost = flops.block_cost(vision.blocks, Lengths(tokens), in_encoder=False)
    found = []
    for number, share in enumerate(rates(vision.layers, vision.stochastic_depth)):
        kind = BlockKind(rotary="", depth=Depth(number, share))
        arguments = (vision.blocks, megatron, False, kind)
        found.append(_block(vision, number, Block, arguments, cost))
    return found


def _stages(vision: VisionConfig, megatron: ModelParallelConfig) -> list[Layer]:
    """Layers that see windows, and between stages what halves the map."""
    found, number = list[Layer](), 0
    shares = rates(vision.depth, vision.stochastic_depth)
    for stage, (model, side) in enumerate(zip(vision.stages, sides(vision), strict=True)):
        if stage:
            before = (vision.stages[stage - 1], megatron, sides(vision)[stage - 1])
            found.append(Layer(f"{TOWER}merging.{stage - 1}", Merging, before))
        for place in range(model.layers):
            depth = Depth(number, shares[number])
            arguments = (model, megatron, side, vision.window, place % 2 == 1, depth)
            found.append(
                _block(vision, number, SwinBlock, arguments, window_cost(model, side, vision.window))
            )
            number += 1
    return found


def _block(
    vision: VisionConfig, number: int, module: type[nn.Module], arguments: tuple[Any, ...], cost: float
) -> Layer:
    ends = (KEPT,) if number == vision.depth - 1 else ()
    return Layer(f"{TOWER}blocks.{number}", module, arguments, cost, ends=ends, block=True)
