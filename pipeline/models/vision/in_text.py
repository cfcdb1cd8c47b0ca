"""Images in a decoder's sequence (Liu et al. 2023, "Visual instruction tuning"; the projector of LLaVA-1.5).

The patches of an image, as the last but one layer of a tower has them and without its class token, go through
two linear layers with GELU between them and take the places of tokens. The tower comes first in the list;
what it says waits in the flow until the words are there.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig, parallel_state
from megatron.core.tensor_parallel.mappings import gather_from_sequence_parallel_region
from torch import Tensor, nn

from pipeline.config import ModelConfig, PipelineConfig
from pipeline.config.vision import VisionConfig
from pipeline.costs.lengths import Lengths
from pipeline.models.build import Builder, Head
from pipeline.models.layer import Flow, Layer
from pipeline.models.linear import WholeLinear
from pipeline.models.vision.tower import TOWER, tower

PROJECTOR = "projector"
"""Prefix of its names."""


class Projector(nn.Module):
    """From the width of a tower to that of words, each patch alone; whole on every rank."""

    def __init__(self, vision: VisionConfig, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.first, self.parts = int(vision.class_token), megatron.sequence_parallel
        width, std = model.word_size or model.hidden_size, model.initial_std
        self.up = WholeLinear(megatron, vision.width, width, bias=True, std=std)
        self.out = WholeLinear(megatron, width, width, bias=True, std=std)

    def forward(self, flow: Flow) -> Flow:
        """Add `image_states` [N, B x I, H], whole whatever the layout."""
        return {
            "image_states": self.out(F.gelu(self.up(patch_states(flow["hidden"], self.first, self.parts))))
        }


def patch_states(hidden_SBH: Tensor, first: int, parts: bool) -> Tensor:
    """[N, B, H] of a tower's states those of the patches; `parts` says that tensor ranks hold parts of them.

    Each rank then uses what it gathers for its own part of a text, so their gradients are added up.
    """
    if parts:
        hidden_SBH = gather_from_sequence_parallel_region(hidden_SBH, tensor_parallel_output_grad=True)
    return hidden_SBH[first:]


class Placed(nn.Module):
    """Puts images where they stand in a text; no parameters."""

    def __init__(self, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.parts = megatron.sequence_parallel

    def forward(self, flow: Flow) -> Flow:
        """The states of patches in place of what is at `image_places`; a text without images stays."""
        if "image_states" not in flow:
            return {}
        hidden_SBH = flow["hidden"]
        length, batch, width = hidden_SBH.shape
        places_BP = flow["image_places"].long()
        images = places_BP.shape[1] // len(flow["image_states"])
        # [N, B x I, H] to [I x N, B, H]: the patches of the first image, then those of the second
        states_PBH = flow["image_states"].unflatten(1, (batch, images)).permute(2, 0, 1, 3).flatten(0, 1)
        if self.parts:
            places_BP = places_BP - length * parallel_state.get_tensor_model_parallel_rank()
        elsewhere = (places_BP < 0) | (places_BP >= length)
        index_PBH = places_BP.masked_fill(elsewhere, length).t().unsqueeze(2).expand(-1, -1, width)
        room = torch.cat((hidden_SBH, hidden_SBH.new_zeros(1, batch, width)))
        return {"hidden": room.scatter(0, index_PBH, states_PBH.to(room.dtype))[:length]}


def last_but_one(vision: VisionConfig, megatron: ModelParallelConfig, images: int) -> list[Layer]:
    """A tower up to its last but one layer, whose output is not normed, for so many images a sample."""
    left_out = (f"{TOWER}blocks.{vision.layers - 1}", f"{TOWER}norm")
    return [
        replace(layer, cost=layer.cost * images)
        for layer in tower(vision, megatron)
        if layer.name not in left_out
    ]


def images_in_text(
    config: PipelineConfig, vocabulary_size: int, dtype: torch.dtype, head: Head
) -> list[Layer]:
    """The tower, the projector, and a decoder in whose sequence the images stand.

    With `objective.blind` the decoder alone, whose weights have the same names.
    """
    vision, objective = config.vision, config.objective
    assert vision is not None
    build = Builder(config, Lengths(config.data.sequence_length), vocabulary_size, dtype)
    words, *behind = build.layers(head)
    if objective.blind:
        return [words, *behind]
    project = (vision, config.model, build.megatron)
    return [
        *last_but_one(vision, build.megatron, objective.pictures),
        Layer(PROJECTOR, Projector, project, gives=("image_states",), ends=("hidden",)),
        words,
        Layer("placed", Placed, (build.megatron,), ends=("image_states", "image_places")),
        *behind,
    ]
