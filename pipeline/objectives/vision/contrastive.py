"""Which text goes with which image (Radford et al. 2021): every other pair of the global batch says no.

Each rank has the rows of its own pairs against the columns of all ranks' pairs, and gradients flow through
what it has gathered: so the mean over ranks is, to rounding, the gradient of one process with the whole
batch, and a rank holds B x R B scores. Gathering without gradients is wrong with local rows; with whole ones
each rank computes (R B)^2 scores for features' gradients of which a factor R is missing.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from data_prep.contract.pictures import ImageDataset
from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig
from pipeline.objectives.batches import Batch
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

    from data_prep.contract.vocabulary import Vocabulary
    from pipeline.config.vision import VisionConfig
    from pipeline.models.layer import Flow, Layer


class Contrastive(ImageObjective):
    """The mean of two cross-entropies: the text of each image, and the image of each text."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The weight [B] of each pair; one without a weight is no wrong answer for others either."""
        return ("weights",)

    @property
    def metrics(self) -> tuple[str, ...]:
        """How often an image's own text is the nearest of the batch, the reverse, and the scale."""
        return ("image_to_text", "text_to_image", "scale")

    def describe(self) -> str:
        """What is learned."""
        return "which text of a batch goes with which image"

    def picture_batches(self, config: PipelineConfig, dataset: ImageDataset) -> MakePictureBatch:
        """Images with their captions. `InputError` where there are none."""
        if not dataset.has("caption"):
            raise InputError(f"{dataset.folder}: its images have no captions, which contrastive learns from")
        return partial(
            paired,
            vocabulary=dataset.vocabulary,
            length=config.data.sequence_length,
            vision=vision_of(config),
        )

    def image_layers(self, config: PipelineConfig, pieces: int, dtype: "torch.dtype") -> "list[Layer]":
        """Both towers and what joins them."""
        from pipeline.models.vision.pairs import pairs

        return pairs(config, pieces, dtype)

    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """Sums over this rank's pairs of weight times the mean of both cross-entropies."""
        from pipeline.objectives.vision.all_pairs import cosines, own_entropies

        weights_B = labels["weights"]
        found = cosines(outputs, weights_B)
        entropies, hits = zip(*(own_entropies(scores, outputs["scale"]) for scores in found), strict=True)
        total = (weights_B * (entropies[0] + entropies[1])).sum() / 2
        shares = [(weights_B * hit.to(weights_B.dtype)).sum() for hit in hits]
        scale = (weights_B * outputs["scale"].detach()).sum()
        return total, dict(zip(self.metrics, (*shares, scale), strict=True))


def paired(samples: ImageSamples, vocabulary: "Vocabulary", length: int, vision: "VisionConfig") -> Batch:
    """A batch of images with the tokens of their captions."""
    batch: Batch = {"pixels": samples.pixels, "weights": weights_of(samples)}
    depth = kept_branches(samples, vision.depth, vision.stochastic_depth)
    return batch | caption_tokens(samples.captions, vocabulary, length) | depth


def caption_tokens(captions: Sequence[str], vocabulary: "Vocabulary", length: int) -> Batch:
    """`tokens` [B, length]: a start, the text, perhaps cut, and an end, which `last` [B] is at."""
    tokens = np.full((len(captions), length), vocabulary.pad, np.int64)
    last = np.empty(len(captions), np.int64)
    for row, ids in enumerate(vocabulary.encode_batch(captions)):
        framed = [vocabulary.bos, *ids[: length - 2], vocabulary.eos]
        tokens[row, : len(framed)] = framed
        last[row] = len(framed) - 1
    return {"tokens": tokens, "last": last}
