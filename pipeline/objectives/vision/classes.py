"""Which class an image is of: a classification head behind an image tower."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from data_prep.contract.pictures import ImageDataset
from data_prep.contract.settings import InputError
from pipeline.config import ObjectiveConfig, PipelineConfig
from pipeline.config.vision import VisionConfig
from pipeline.objectives.batches import Batch
from pipeline.objectives.objective import MakePictureBatch
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.mixing import mixed
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

TOP = 5


class ImageClasses(ImageObjective):
    """Cross-entropy over classes, of images that may be mixed in pairs."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Each image's class [B], that of the one it is mixed with, its own share, its weight."""
        return ("classes", "other_classes", "shares", "weights")

    @property
    def metrics(self) -> tuple[str, ...]:
        """How often the class is the likeliest, or among the five likeliest."""
        return ("accuracy", "top5")

    def describe(self) -> str:
        """What is predicted, and what is done to images."""
        mixes = [
            f"{name} {value:g}" for name in ("mixup", "cutmix") if (value := getattr(self.settings, name))
        ]
        return " with ".join(["the classes of images", *([" and ".join(mixes)] if mixes else [])])

    def picture_batches(self, config: PipelineConfig, dataset: ImageDataset) -> MakePictureBatch:
        """Images with their classes."""
        if not dataset.has("label"):
            raise InputError(f"{dataset.folder}: its images have no classes, which image_classes learns")
        return partial(classified, settings=self.settings, vision=vision_of(config))

    def image_layers(self, config: PipelineConfig, pieces: int, dtype: "torch.dtype") -> "list[Layer]":
        """The tower and the head."""
        from pipeline.models.linear import megatron_config
        from pipeline.models.vision.heads import classifier
        from pipeline.models.vision.tower import tower

        del pieces
        vision, megatron = vision_of(config), megatron_config(dtype, config.parallel.sequence)
        return [*tower(vision, megatron), classifier(vision, megatron)]

    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """Sum of weight times cross-entropy in nats, and of what is right."""
        logs_BC = outputs["scores"].float().log_softmax(1)
        classes_B, weights_B, shares_B = labels["classes"], labels["weights"], labels["shares"]

        def of(chosen_B: "Tensor") -> "Tensor":
            return logs_BC.gather(1, chosen_B.unsqueeze(1)).squeeze(1)

        wanted_B = shares_B * of(classes_B) + (1 - shares_B) * of(labels["other_classes"])
        smooth = self.settings.label_smoothing
        if smooth:
            wanted_B = (1 - smooth) * wanted_B + smooth * logs_BC.mean(1)
        best_BK = logs_BC.detach().topk(min(TOP, logs_BC.shape[1]), 1).indices
        hits_BK = best_BK == classes_B.unsqueeze(1)
        accuracy, top5 = (
            (hit.to(weights_B.dtype) * weights_B).sum() for hit in (hits_BK[:, 0], hits_BK.any(1))
        )
        return -(wanted_B * weights_B).sum(), {"accuracy": accuracy, "top5": top5}


def classified(samples: ImageSamples, settings: ObjectiveConfig, vision: VisionConfig) -> Batch:
    """A batch of images with their classes, mixed in pairs in training where the settings say so."""
    pixels, others = samples.pixels, np.arange(len(samples.pixels))
    shares = np.ones(len(pixels), np.float32)
    if samples.train and (settings.mixup or settings.cutmix):
        pixels, others, shares = mixed(pixels, samples.keys, settings.mixup, settings.cutmix)
    batch: Batch = {
        "pixels": pixels,
        "classes": samples.labels,
        "other_classes": samples.labels[others],
        "shares": shares,
        "weights": weights_of(samples),
    }
    return batch | kept_branches(samples, vision.depth, vision.stochastic_depth)
