"""A trained quantiser in one process: pictures to numbers of codes, and numbers to pictures."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from data_prep.contract.settings import InputError
from pipeline.evaluation.images.loading import AT_ONCE, ImageModel, open_images
from pipeline.models.vision.decoder import DECODER
from pipeline.models.vision.pixels import coloured
from pipeline.models.vision.quantiser import QUANTISER
from pipeline.models.vision.tower import TOWER
from pipeline.parallel.stack import Stack


@dataclass(frozen=True)
class ImageTokenizer:
    """A run of objective quantised_patches."""

    model: ImageModel

    @property
    def size(self) -> int:
        """K, codes of the codebook."""
        assert self.model.vision.quantiser is not None
        return self.model.vision.quantiser.codes

    @cached_property
    def encoder(self) -> Stack:
        """From pixels to numbers."""
        return self._part((TOWER, QUANTISER))

    @cached_property
    def decoder(self) -> Stack:
        """From codes to colours."""
        return self._part((DECODER,))

    @cached_property
    def codes(self) -> torch.Tensor:
        """[K, D] of length one."""
        return F.normalize(self.model.checkpoint.merged(f"{QUANTISER}.codebook").float(), dim=1)

    def _part(self, prefixes: tuple[str, ...]) -> Stack:
        return self.model.built([layer for layer in self.model.layers if layer.name.startswith(prefixes)])

    @torch.inference_mode()
    def numbers(self, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """[B, N] the numbers of images [B, Y, X, 3]."""
        found = [
            self.encoder({"pixels": torch.from_numpy(pixels[start : start + AT_ONCE]).to(self.model.device)})
            for start in range(0, len(pixels), AT_ONCE)
        ]
        return np.concatenate([one["codes"].cpu().numpy() for one in found])

    @torch.inference_mode()
    def pictures(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """[B, Y, X, 3] images of numbers [B, N]."""
        return np.concatenate(
            [self._pictures(numbers[start : start + AT_ONCE]) for start in range(0, len(numbers), AT_ONCE)]
        )

    def _pictures(self, numbers_BN: NDArray[np.int64]) -> NDArray[np.uint8]:
        codes_NBD = F.embedding(torch.from_numpy(numbers_BN).t(), self.codes)
        said_NBP = self.decoder({"hidden": codes_NBD.to(self.model.device, self.model.dtype)})["restored"]
        found: NDArray[np.uint8] = coloured(said_NBP.transpose(0, 1), self.model.vision).cpu().numpy()
        return found


def open_tokenizer(path: Path) -> ImageTokenizer:
    """The newest checkpoint of a run, or the one that `path` names. `InputError` where it is no quantiser."""
    return tokenizer_of(open_images(path))


def tokenizer_of(model: ImageModel) -> ImageTokenizer:
    """The same of a run that is open already."""
    kind = model.config.objective.kind
    if kind != "quantised_patches":
        raise InputError(f"{model.run}: it has learned {kind}; quantised_patches turns images into tokens")
    return ImageTokenizer(model)
