"""Images and texts in one space (Radford et al. 2021): two towers, a projection of each, a learned scale.

The image tower comes first in the list; its features wait in the flow while the text tower runs.
"""

import math

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from megatron.core.tensor_parallel.mappings import gather_from_sequence_parallel_region
from torch import nn

from pipeline.config import ModelConfig, PipelineConfig
from pipeline.config.vision import VisionConfig
from pipeline.costs.lengths import Lengths
from pipeline.models.build import Builder
from pipeline.models.layer import Flow, Layer
from pipeline.models.linear import WholeLinear
from pipeline.models.vision.heads import Pooled
from pipeline.models.vision.tower import tower

FIRST_SCALE, MOST_SCALE = 1 / 0.07, 100.0
"""What cosines are multiplied by at first, and at most (Radford et al. 2021, section 2.5)."""


class TextFeatures(nn.Module):
    """A linear map of the state at each text's last token; each rank computes all of it."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig, outputs: int) -> None:
        super().__init__()
        self.parts, width = megatron.sequence_parallel, model.hidden_size
        self.linear = WholeLinear(megatron, width, outputs, bias=False, std=width**-0.5)
        for parameter in self.parameters():
            parameter.partial_gradient = False  # every rank sees the whole sequence

    def forward(self, flow: Flow) -> Flow:
        """Add `text_features` [B, D]."""
        hidden_SBH = flow["hidden"]
        if self.parts:
            hidden_SBH = gather_from_sequence_parallel_region(hidden_SBH, tensor_parallel_output_grad=False)
        last_B = flow["last"].long()
        rows_B = torch.arange(len(last_B), device=last_B.device)
        return {"text_features": self.linear(hidden_SBH[last_B, rows_B])}


class Joined(nn.Module):
    """Features of length one, in float32, and the scale, whose logarithm is learned.

    The engine keeps the logarithm below that of 100 after every step (`most`).
    """

    def __init__(self, megatron: ModelParallelConfig) -> None:
        super().__init__()
        first = torch.full((1,), math.log(FIRST_SCALE), dtype=megatron.params_dtype)
        self.log_scale = nn.Parameter(first)
        self.log_scale.most = math.log(MOST_SCALE)

    def forward(self, flow: Flow) -> Flow:
        """Put `scale` beside both features."""
        names = ("image_features", "text_features")
        return {name: F.normalize(flow[name].float(), dim=1) for name in names} | {
            "scale": self.log_scale.float().exp()
        }


def image_features(vision: VisionConfig, megatron: ModelParallelConfig) -> list[Layer]:
    """The image tower, and its projection."""
    assert vision.joint_size is not None
    std = vision.width**-0.5
    arguments = (vision, megatron, vision.joint_size, "image_features", False, std)
    given = ("image_features",)
    return [
        *tower(vision, megatron),
        Layer("image_projection", Pooled, arguments, gives=given, ends=("hidden",)),
    ]


def pairs(config: PipelineConfig, vocabulary_size: int, dtype: torch.dtype) -> list[Layer]:
    """Both towers and what joins them."""
    vision = config.vision
    assert vision is not None

    def head(build: Builder) -> list[Layer]:
        arguments = (*build.common, vision.joint_size)
        given = ("text_features",)
        projection = Layer("text_projection", TextFeatures, arguments, gives=given, ends=("hidden", "last"))
        return [projection, Layer("joined", Joined, (build.megatron,), gives=("scale",))]

    build = Builder(config, Lengths(config.data.sequence_length), vocabulary_size, dtype)
    return [*image_features(vision, build.megatron), *build.layers(head)]
