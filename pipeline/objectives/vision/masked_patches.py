"""Masked autoencoding (He et al. 2022): what hidden patches of an image look like.

An encoder sees a quarter of an image's patches, drawn evenly; a decoder says what all of them look like, and
the hidden ones count. A patch is wanted less its own mean over its own deviation, of the unbiased variance.
"""

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.pictures import ImageDataset
from pipeline.config import PipelineConfig
from pipeline.config.vision import CHANNELS, VisionConfig
from pipeline.costs.vision import visible_patches
from pipeline.objectives.batches import Batch
from pipeline.objectives.draws import uniform
from pipeline.objectives.objective import MakePictureBatch
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.objective import (
    ImageObjective,
    kept_branches,
    vision_of,
    weights_of,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pipeline.models.layer import Flow, Layer

HIDDEN = 5  # what a number is drawn for
PATCH_EPSILON = 1e-6
"""Added to a patch's variance."""


class Masks(NamedTuple):
    """Which patches of each image are hidden."""

    visible: NDArray[np.int32]
    """[B, K] those that are not, in the order in which the encoder sees them."""
    restore: NDArray[np.int32]
    """[B, N] where each patch stands in [visible ones; hidden ones]."""
    hidden: NDArray[np.float32]
    """[B, N] 1 for hidden ones."""


class MaskedPatches(ImageObjective):
    """The mean square error over the hidden patches."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What each patch looks like [B, N, P], and the weights [B, N] of hidden ones."""
        return ("wanted", "patch_weights")

    def describe(self) -> str:
        """What is hidden and what is wanted."""
        own = ", each less its own mean over its own deviation" if self.settings.normalised_patches else ""
        return f"the colours of {100 * self.settings.density:g} % of the patches, which are hidden{own}"

    def tokens(self, batch: Batch) -> int:
        """Images that have a weight."""
        return int((batch["patch_weights"] > 0).any(1).sum())

    def picture_batches(self, config: PipelineConfig, dataset: ImageDataset) -> MakePictureBatch:
        """Images with some patches hidden."""
        del dataset
        normalise = self.settings.normalised_patches
        return partial(
            masked_images, vision=vision_of(config), density=self.settings.density, normalise=normalise
        )

    def image_layers(self, config: PipelineConfig, pieces: int, dtype: "torch.dtype") -> "list[Layer]":
        """The tower over visible patches, and the decoder over all."""
        from pipeline.models.linear import megatron_config
        from pipeline.models.vision.decoder import decoder
        from pipeline.models.vision.tower import tower

        del pieces
        vision, megatron = vision_of(config), megatron_config(dtype)
        seen = visible_patches(vision, self.settings.density) + vision.class_token
        return [*tower(vision, megatron, seen), *decoder(vision, megatron)]

    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """Sum over the hidden patches of weight times mean square error."""
        found_BNP = outputs["restored"].transpose(0, 1).float()
        errors_BN = (found_BNP - labels["wanted"]).square().mean(2)
        return (errors_BN * labels["patch_weights"]).sum(), {}


def masked_images(samples: ImageSamples, vision: VisionConfig, density: float, normalise: bool) -> Batch:
    """A batch of images of which patches are hidden, drawn from each one's key."""
    noise = uniform(samples.keys, vision.patches, HIDDEN)
    masks = masks_of(noise, visible_patches(vision, density))
    batch: Batch = {
        "pixels": samples.pixels,
        "visible": masks.visible,
        "restore": masks.restore,
        "wanted": wanted(samples.pixels, vision, normalise),
        "patch_weights": masks.hidden * weights_of(samples)[:, None],
    }
    return batch | kept_branches(samples, vision.depth, vision.stochastic_depth)


def masks_of(noise: NDArray[np.float64], visible: int) -> Masks:
    """The patches with the least noise stay visible.

    >>> masks_of(np.array([[0.3, 0.1, 0.4, 0.2]]), 2)[:2]
    (array([[1, 3]], dtype=int32), array([[2, 0, 3, 1]], dtype=int32))
    """
    order = noise.argsort(1, kind="stable").astype(np.int32)
    restore = order.argsort(1, kind="stable").astype(np.int32)
    return Masks(order[:, :visible], restore, (restore >= visible).astype(np.float32))


def wanted(pixels: NDArray[np.uint8], vision: VisionConfig, normalise: bool) -> NDArray[np.float32]:
    """[B, N, P] what patches look like, in the order of `pipeline.models.vision.pixels.patched`."""
    mean, std = np.array(vision.mean, np.float32), np.array(vision.std, np.float32)
    colours = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    batch, side, size = len(pixels), vision.side, vision.patch_size
    cut = colours.reshape(batch, side, size, side, size, CHANNELS).swapaxes(2, 3)
    patches: NDArray[np.float32] = cut.reshape(batch, side * side, vision.patch_numbers)
    if not normalise:
        return patches
    middle = patches.mean(2, keepdims=True)
    spread = np.sqrt(patches.var(2, keepdims=True, ddof=1) + np.float32(PATCH_EPSILON))
    found: NDArray[np.float32] = (patches - middle) / spread
    return found
