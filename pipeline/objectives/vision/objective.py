"""What an objective on images is: it has the layers from pixels on, and makes batches of decoded pictures."""

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.pictures import ImageDataset
from pipeline.config import DataConfig, PipelineConfig
from pipeline.config.vision import VisionConfig
from pipeline.models.stochastic_depth import KEPT, rates
from pipeline.objectives.batches import Batch
from pipeline.objectives.draws import uniform
from pipeline.objectives.objective import MakeBatch, MakePictureBatch, Objective, Shape
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.special import SpecialTokens

if TYPE_CHECKING:
    import torch

    from pipeline.models.layer import Layer

DEPTH = 1  # what a number is drawn for


class ImageObjective(Objective):
    """An objective on images."""

    form = "pictures"
    fills = False

    def shape(self, data: DataConfig) -> Shape:
        """Images have no stretch of a stream of tokens."""
        raise AssertionError(f"{self.settings.kind} is learned on images")

    def make_batch(self, data: DataConfig, special: SpecialTokens) -> MakeBatch:
        """Nor batches of tokens."""
        raise AssertionError(f"{self.settings.kind} is learned on images")

    @abstractmethod
    def picture_batches(self, config: PipelineConfig, dataset: ImageDataset) -> MakePictureBatch:
        """The function from decoded images to batches, a pure one. `InputError` where a dataset has not what
        it needs."""

    @abstractmethod
    def image_layers(self, config: PipelineConfig, pieces: int, dtype: "torch.dtype") -> "list[Layer]":
        """Every layer, from pixels to what the loss takes."""

    def tokens(self, batch: Batch) -> int:
        """Images that have a weight: all of them have as many patches."""
        return int((batch["weights"] > 0).sum())


def vision_of(config: PipelineConfig) -> VisionConfig:
    """The section that an objective on images reads."""
    assert config.vision is not None
    return config.vision


def weights_of(samples: ImageSamples) -> NDArray[np.float32]:
    """[B] 1 where an image is real."""
    return samples.real.astype(np.float32)


def kept_branches(samples: ImageSamples, layers: int, last: float) -> Batch:
    """`kept` [B, 2 L], drawn for each image of a training where layers leave out branches; else nothing."""
    if not last or not samples.train:
        return {}
    shares = np.repeat(rates(layers, last), 2)
    return {KEPT: uniform(samples.keys, len(shares), DEPTH) >= shares}
