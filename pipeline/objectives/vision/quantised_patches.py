"""ViT-VQGAN's quantiser (Yu et al. 2021): images through the codes of a codebook and back.

The loss is the mean square error of the colours, and how far features and codes are from each other: codes
are drawn to features, and features to codes by `commitment` of that (van den Oord et al. 2017, equation 3).
"""

from functools import partial
from typing import TYPE_CHECKING

from data_prep.contract.pictures import ImageDataset
from pipeline.config import PipelineConfig
from pipeline.config.vision import VisionConfig
from pipeline.objectives.batches import Batch
from pipeline.objectives.objective import MakePictureBatch
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.masked_patches import wanted
from pipeline.objectives.vision.objective import ImageObjective, kept_branches, vision_of, weights_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pipeline.models.layer import Flow, Layer


class QuantisedPatches(ImageObjective):
    """The colours of all patches, each of which is known by the number of a code."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What each patch looks like [B, N, P], and the weight [B] of each image."""
        return ("wanted", "weights")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The two parts of the loss."""
        return ("squared_error", "code_error")

    def describe(self) -> str:
        """What is learned."""
        return "the colours of patches through the codes of a codebook"

    def picture_batches(self, config: PipelineConfig, dataset: ImageDataset) -> MakePictureBatch:
        """Images with what they look like."""
        del dataset
        return partial(seen, vision=vision_of(config))

    def image_layers(self, config: PipelineConfig, pieces: int, dtype: "torch.dtype") -> "list[Layer]":
        """The tower, the codebook, the decoder."""
        from pipeline.models.linear import megatron_config
        from pipeline.models.vision.quantiser import quantised

        del pieces
        return quantised(vision_of(config), megatron_config(dtype))

    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """Sum over images of weight times both errors."""
        found_BNP = outputs["restored"].transpose(0, 1).float()
        weights_B = labels["weights"]
        squares = ((found_BNP - labels["wanted"]).square().mean((1, 2)) * weights_B).sum()
        codes = (outputs["code_errors"] * weights_B).sum()
        return squares + codes, {"squared_error": squares.detach(), "code_error": codes.detach()}


def seen(samples: ImageSamples, vision: VisionConfig) -> Batch:
    """A batch of images and of their patches' colours."""
    batch: Batch = {
        "pixels": samples.pixels,
        "wanted": wanted(samples.pixels, vision, normalise=False),
        "weights": weights_of(samples),
    }
    return batch | kept_branches(samples, vision.depth, vision.stochastic_depth)
