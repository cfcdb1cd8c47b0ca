"""What is said of a whole image."""

from megatron.core import ModelParallelConfig
from megatron.core.tensor_parallel.mappings import gather_from_sequence_parallel_region
from torch import Tensor, nn

from pipeline.config.vision import VisionConfig
from pipeline.models.layer import Flow, Layer
from pipeline.models.linear import WholeLinear

CLASSIFIER = "classifier"
"""Prefix of the head's names."""


class Pooled(nn.Module):
    """A linear map of an image's class token or of its patches' mean; each rank computes all of it."""

    def __init__(
        self,
        vision: VisionConfig,
        megatron: ModelParallelConfig,
        outputs: int,
        name: str,
        bias: bool,
        std: float,
    ) -> None:
        super().__init__()
        self.vision, self.parts, self.name = vision, megatron.sequence_parallel, name
        self.linear = WholeLinear(megatron, vision.width, outputs, bias=bias, std=std)
        for parameter in self.parameters():
            parameter.partial_gradient = False  # every rank sees the whole sequence

    def forward(self, flow: Flow) -> Flow:
        """Add what it is called, [B, outputs]."""
        return {self.name: self.linear(pooled(flow["hidden"], self.vision, self.parts))}


def pooled(hidden_SBH: Tensor, vision: VisionConfig, parts: bool) -> Tensor:
    """[B, H], what stands for a whole image; `parts` says that tensor ranks hold parts of the sequence."""
    if parts:
        hidden_SBH = gather_from_sequence_parallel_region(hidden_SBH, tensor_parallel_output_grad=False)
    return hidden_SBH[0] if vision.pooling == "class" else hidden_SBH[int(vision.class_token) :].mean(0)


def classifier(vision: VisionConfig, megatron: ModelParallelConfig) -> Layer:
    """The head that tells classes apart: `scores` [B, classes]; it starts at zero."""
    assert vision.classes is not None
    arguments = (vision, megatron, vision.classes, "scores", True, 0.0)
    return Layer(CLASSIFIER, Pooled, arguments, gives=("scores",), ends=("hidden",))


class Features(nn.Module):
    """An image's features as they are: no parameters."""

    def __init__(self, vision: VisionConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.vision, self.parts = vision, megatron.sequence_parallel

    def forward(self, flow: Flow) -> Flow:
        """Add `image_features` [B, H]."""
        return {"image_features": pooled(flow["hidden"], self.vision, self.parts).clone()}


def features(vision: VisionConfig, megatron: ModelParallelConfig) -> Layer:
    """What a tower says of an image without a head."""
    given = ("image_features",)
    return Layer("features", Features, (vision, megatron), gives=given, ends=("hidden",))
