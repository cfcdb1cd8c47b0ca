"""A model of images in one process: its towers, from a run's folder or one of its checkpoints."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.pictures import ImageDataset
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import read_config
from pipeline.config import PipelineConfig, VisionConfig
from pipeline.config.view import ViewConfig
from pipeline.data.images.stream import ImageStream
from pipeline.distributed import world
from pipeline.generation.load import find_checkpoint
from pipeline.models.layer import Layer
from pipeline.models.linear import megatron_config
from pipeline.models.vision.heads import features
from pipeline.models.vision.tower import TOWER
from pipeline.objectives.model import model_layers
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.contrastive import caption_tokens
from pipeline.parallel.stack import Stack

AT_ONCE = 64
"""Images or texts that are computed together."""


@dataclass(frozen=True)
class ImageModel:
    """A run's checkpoint; what of it is asked for is built then. Float32 on a CPU, bfloat16 on a GPU."""

    checkpoint: Checkpoint
    run: Path
    config: PipelineConfig
    device: torch.device

    @property
    def vision(self) -> VisionConfig:
        """The section of what reads images."""
        assert self.config.vision is not None
        return self.config.vision

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The tokenizer of a text tower."""
        return Vocabulary(self.run / TOKENIZER)

    @property
    def dtype(self) -> torch.dtype:
        """Type of weights and activations."""
        return torch.bfloat16 if self.device.type == "cuda" else torch.float32

    @cached_property
    def layers(self) -> list[Layer]:
        """All of the model."""
        pieces = self.vocabulary.size if self.config.reads_text else 0
        return model_layers(self.config, pieces, self.dtype)

    def built(self, layers: list[Layer]) -> Stack:
        """Some layers with the checkpoint's weights."""
        module = Stack(layers).to(self.device).eval()
        with torch.no_grad():
            for name, parameter in module.named():
                parameter.copy_(self.checkpoint.merged(name))
        return module

    @cached_property
    def whole(self) -> Stack:
        """The whole model."""
        return self.built(self.layers)

    @cached_property
    def image_tower(self) -> Stack:
        """From pixels to features: a CLIP's projected ones, of others what the head is given."""
        own = [layer for layer in self.layers if layer.name.startswith((TOWER, "image_projection"))]
        if self.config.objective.kind != "contrastive":
            own.append(features(self.vision, megatron_config(self.dtype)))
        return self.built(own)

    @cached_property
    def text_tower(self) -> Stack:
        """From tokens to features."""
        behind = [layer for layer in self.layers if not layer.name.startswith((TOWER, "image_projection"))]
        return self.built(behind[:-1])

    @torch.inference_mode()
    def image_features(self, samples: ImageSamples) -> Tensor:
        """[B, D], of length one where texts are in the same space; float32 on the CPU."""
        found = self.image_tower({"pixels": torch.from_numpy(samples.pixels).to(self.device)})
        features_BD = found["image_features"].float().cpu()
        return F.normalize(features_BD, dim=1) if self.config.reads_text else features_BD

    @torch.inference_mode()
    def text_features(self, texts: Sequence[str]) -> Tensor:
        """[B, D] of length one, float32 on the CPU. `InputError` where there is no text tower."""
        if not self.config.reads_text:
            raise InputError(f"{self.run}: a model that reads no texts; a run of objective contrastive does")
        parts = []
        for start in range(0, len(texts), AT_ONCE):
            batch = caption_tokens(
                texts[start : start + AT_ONCE], self.vocabulary, self.config.data.sequence_length
            )
            inputs = {name: torch.from_numpy(array).to(self.device) for name, array in batch.items()}
            parts.append(F.normalize(self.text_tower(inputs)["text_features"].float().cpu(), dim=1))
        return torch.cat(parts)


@dataclass(frozen=True)
class Prompted:
    """A model with the images of a batch of prompts, as generation asks for one; its session is its own."""

    model: ImageModel

    @property
    def config(self) -> PipelineConfig:
        """The resolved configuration of the run."""
        return self.model.config

    @property
    def vocabulary(self) -> Vocabulary:
        """The run's tokenizer."""
        return self.model.vocabulary


def open_images(path: Path) -> ImageModel:
    """The newest checkpoint of a run, or the one that `path` names. `InputError` where it sees no images."""
    checkpoint, run = find_checkpoint(path)
    if damage := checkpoint.damage():
        raise InputError(f"{checkpoint.folder}: {damage}; use an earlier checkpoint")
    config = read_config(run)
    if config.vision is None:
        raise InputError(f"{run}: a model without an image tower; a run of pretrain_images is expected")
    return ImageModel(checkpoint, run, config, world.start_alone(config.seed).device)


def pictures(
    model: ImageModel, dataset: ImageDataset, split: str, most: int | None
) -> Iterator[ImageSamples]:
    """The first pictures of a split in stored order, as the model was validated on them."""
    if split not in dataset.manifest.splits:
        there = ", ".join(dataset.manifest.splits)
        raise InputError(f"{dataset.folder}: there is no split {split}; there are {there}")
    data = model.config.data
    size = data.view.size or model.vision.image_size
    stream = ImageStream(dataset, split, data.view, size, model.config.seed, train=False)
    count = min(len(stream), most or len(stream))
    for start in range(0, count, AT_ONCE):
        yield stream.stored(start, min(start + AT_ONCE, count))


def maps(dataset: ImageDataset, split: str, side: int, most: int) -> ImageSamples:
    """The first maps of tokens of a split, in stored order and as they are."""
    stream = ImageStream(dataset, split, ViewConfig(size=side), side, 0, train=False)
    return stream.stored(0, min(most, len(stream)))
