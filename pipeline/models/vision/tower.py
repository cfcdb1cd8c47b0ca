"""The layers of an image tower, from pixels to normed hidden states; all have names that begin with `image.`.

So what one training has learned of images another one starts with, whatever stands behind the tower.
"""

from megatron.core import ModelParallelConfig

from pipeline.config.vision import VisionConfig
from pipeline.costs import flops
from pipeline.costs.lengths import Lengths
from pipeline.models.block import Block, BlockKind
from pipeline.models.embeddings import drop
from pipeline.models.layer import Layer
from pipeline.models.norm import Dropout, Norm, normalise
from pipeline.models.stochastic_depth import KEPT, Depth, rates
from pipeline.models.vision.patches import PatchEmbedding, PlanePositions

TOWER = "image."
"""Prefix of the tower's names."""


def tower(vision: VisionConfig, megatron: ModelParallelConfig, tokens: int | None = None) -> list[Layer]:
    """From `pixels` to `hidden` [S, B, H]; its blocks see so many tokens, or all."""
    common = (vision.blocks, megatron)
    found = [
        Layer(f"{TOWER}patches", PatchEmbedding, (vision, megatron), gives=("hidden",), ends=("pixels",)),
        Layer(f"{TOWER}positions", PlanePositions, (vision, megatron), ends=("visible",)),
    ]
    if vision.embedding_norm:
        found.append(Layer(f"{TOWER}embedding_norm", Norm, common, forward=normalise))
    if vision.dropout:
        found.append(Layer(f"{TOWER}dropout", Dropout, common, forward=drop))
    lengths = Lengths(tokens or vision.tokens)
    cost = flops.block_cost(vision.blocks, lengths, in_encoder=False)
    shares = rates(vision.layers, vision.stochastic_depth)
    for number, share in enumerate(shares):
        kind = BlockKind(rotary="", depth=Depth(number, share))
        name, last = f"{TOWER}blocks.{number}", number == vision.layers - 1
        arguments = (*common, False, kind)
        found.append(Layer(name, Block, arguments, cost, ends=(KEPT,) if last else (), block=True))
    return [*found, Layer(f"{TOWER}norm", Norm, common, forward=normalise)]
