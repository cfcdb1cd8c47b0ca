"""Pictures out of noise: a denoiser that is told something, and the same one told nothing beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.contract.settings import InputError
from pipeline.generation.diffusion.loading import Denoiser, TextEncoder
from pipeline.generation.diffusion.samplers import Sampler, guided
from pipeline.models.layer import Flow
from pipeline.objectives.draws import Words
from pipeline.objectives.vision.diffusion import (
    LOW_NOISE,
    colours_of,
    larger,
    smaller,
)
from pipeline.objectives.vision.noise import Floats, noised, normals, remaining

Pixels = NDArray[np.uint8]
AT_ONCE = 128
"""Pictures that are made together, each told and not told."""


@dataclass(frozen=True)
class Told:
    """What pictures are to show: captions, or the numbers of classes; neither of a denoiser told nothing."""

    captions: Sequence[str] = ()
    classes: NDArray[np.int64] | None = None


class Generator:
    """A denoiser with what it needs beside it."""

    def __init__(self, denoiser: Denoiser, encoder: TextEncoder | None) -> None:
        if (denoiser.diffusion.condition == "text") != (encoder is not None):
            raise InputError(
                f"{denoiser.run}: objective.diffusion.condition is {denoiser.diffusion.condition}; a run as "
                "`text` belongs to condition text, and to no other"
            )
        self.denoiser, self.encoder = denoiser, encoder

    def pictures(
        self,
        told: Told,
        keys: Words,
        sampler: Sampler,
        weight: float,
        low: Pixels | None = None,
        level: int = 0,
    ) -> Pixels:
        """[B, Y, X, 3], a picture for each key, guided with a weight.

        Of a super-resolution stage `low` are the small pictures, which get `level` steps of noise first.
        """
        parts = []
        for start in range(0, len(keys), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            part = Told(told.captions[rows], None if told.classes is None else told.classes[rows])
            parts.append(
                self._some(part, keys[rows], sampler, weight, None if low is None else low[rows], level)
            )
        return np.concatenate(parts)

    def _some(
        self, told: Told, keys: Words, sampler: Sampler, weight: float, low: Pixels | None, level: int
    ) -> Pixels:
        side, count = self.denoiser.vision.image_size, len(keys)
        beside = self._shown(keys, low, level)
        with_it, without = self._read(told, count), self._read(nothing(told, self.denoiser), count)
        alone = weight == 1.0 or self.denoiser.diffusion.condition == "none"
        both = with_it if alone else joined(without | beside, with_it | beside)

        def say(x: Tensor, time: int) -> Tensor:
            if alone:
                return self.denoiser.say(x, time, both | beside)
            said_0, said_1 = self.denoiser.say(torch.cat((x, x)), time, both).chunk(2)
            return guided(said_0, said_1, weight)

        found = sampler.sample(say, keys, (side, side, 3), self.denoiser.device).cpu().numpy()
        return bytes_of(found)

    def _shown(self, keys: Words, low: Pixels | None, level: int) -> Flow:
        """The small pictures beside, with a fixed amount of noise."""
        settings, side = self.denoiser.diffusion, self.denoiser.vision.image_size
        if not settings.low_size:
            return {}
        if low is None or level >= settings.low_steps:
            raise InputError(
                f"{self.denoiser.run}: a super-resolution stage is shown pictures of "
                f"{settings.low_size} pixels with fewer than {settings.low_steps} steps of noise"
            )
        colours = colours_of(low)
        if colours.shape[1] > settings.low_size:
            colours = smaller(colours, settings.low_size)
        left = np.full(len(keys), remaining(settings)[level])
        colours = noised(colours, normals(keys, colours.shape[1:], LOW_NOISE), left)
        device = self.denoiser.device
        times = torch.full((len(keys),), level, device=device)
        return {"low": torch.from_numpy(larger(colours, side)).to(device), "low_times": times}

    def _read(self, told: Told, count: int) -> Flow:
        if self.encoder is not None:
            assert len(told.captions) == count
            return self.encoder.encoded(told.captions, self.denoiser.config.data.sequence_length)
        if told.classes is not None:
            return {"classes": torch.from_numpy(told.classes).to(self.denoiser.device)}
        return {}


def nothing(told: Told, denoiser: Denoiser) -> Told:
    """The same number of pictures, told nothing."""
    if told.classes is None:
        return Told([""] * len(told.captions))
    return Told(classes=np.full_like(told.classes, denoiser.diffusion.classes or 0))


def joined(one: Flow, other: Flow) -> Flow:
    """Two batches as one; the states of texts have their positions first."""
    return {name: torch.cat((one[name], other[name]), int(name == "text_states")) for name in one}


def bytes_of(colours: Floats) -> Pixels:
    """Numbers in [-1, 1] as bytes."""
    return np.rint(np.clip(colours * 127.5 + 127.5, 0, 255)).astype(np.uint8)
