"""An image fused into what an encoder says of a text (Zhang et al. 2023, "Multimodal chain of thought").

The patches of an image, as the last but one layer of a tower has them, are projected to the width of the
text. Every token looks at them with one head, and a gate mixes what it takes into its state H:

    H' = attention(queries H, keys and values the patches)
    g  = sigmoid(W1 H + W2 H' + b)
    H  becomes (1 - g) H + g H'

The decoder behind it is any other. One head cannot be shared among tensor ranks: each holds the layer whole.
"""

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from torch import Tensor, nn

from pipeline.config import ModelConfig, PipelineConfig
from pipeline.config.vision import VisionConfig
from pipeline.costs.lengths import Lengths
from pipeline.models.attention import input_std
from pipeline.models.build import Builder, Head
from pipeline.models.layer import Flow, Layer
from pipeline.models.linear import WholeLinear
from pipeline.models.vision.in_text import PROJECTOR, last_but_one, patch_states

FUSION = "fusion"
"""Prefix of its names."""


class PatchProjection(nn.Module):
    """From the width of a tower to that of an encoder's states, each patch alone."""

    def __init__(self, vision: VisionConfig, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.first, self.parts = int(vision.class_token), megatron.sequence_parallel
        std = input_std(model, vision.width)
        self.linear = WholeLinear(megatron, vision.width, model.hidden_size, bias=True, std=std)

    def forward(self, flow: Flow) -> Flow:
        """Add `image_states` [N, B, H], whole whatever the layout."""
        return {"image_states": self.linear(patch_states(flow["hidden"], self.first, self.parts))}


class GatedFusion(nn.Module):
    """Attention of one head from a text to an image, and the gate that mixes the two."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        width, std = model.hidden_size, input_std(model, model.hidden_size)
        self.query = WholeLinear(megatron, width, width, bias=True, std=std)
        self.key_value = WholeLinear(megatron, width, 2 * width, bias=True, std=std)
        self.output = WholeLinear(megatron, width, width, bias=True, std=std)
        self.gate = WholeLinear(megatron, 2 * width, width, bias=True, std=input_std(model, 2 * width))

    def forward(self, flow: Flow) -> Flow:
        """`memory` [S, B, H], this rank's part of it, with the image in it."""
        text_SBH = flow["memory"]
        keys_NBH, values_NBH = self.key_value(flow["image_states"]).chunk(2, dim=2)
        taken_BSH = F.scaled_dot_product_attention(
            batch_first(self.query(text_SBH)), batch_first(keys_NBH), batch_first(values_NBH)
        )
        image_SBH = self.output(taken_BSH.transpose(0, 1))
        share_SBH = torch.sigmoid(self.gate(torch.cat((text_SBH, image_SBH), 2)))
        return {"memory": (1 - share_SBH) * text_SBH + share_SBH * image_SBH}


def batch_first(x_SBH: Tensor) -> Tensor:
    """[S, B, H] to [B, S, H]."""
    return x_SBH.transpose(0, 1)


def image_beside_text(
    config: PipelineConfig, vocabulary_size: int, dtype: torch.dtype, head: Head
) -> list[Layer]:
    """The tower, an encoder of texts, what fuses the two, and a decoder behind it.

    With `objective.blind` the encoder and the decoder alone, whose weights have the same names.
    """
    vision, model, length = config.vision, config.model, config.data.sequence_length
    assert vision is not None
    build = Builder(config, Lengths(length, length), vocabulary_size, dtype)
    layers = build.layers(head)
    if config.objective.blind:
        return layers
    project = (vision, model, build.megatron)
    behind = 1 + next(place for place, layer in enumerate(layers) if "memory" in layer.gives)
    fusion = Layer(FUSION, GatedFusion, (model, build.megatron), gives=("memory",), ends=("image_states",))
    return [
        *last_but_one(vision, build.megatron, images=1),
        Layer(PROJECTOR, PatchProjection, project, gives=("image_states",), ends=("hidden",)),
        *layers[:behind],
        fusion,
        *layers[behind:],
    ]
