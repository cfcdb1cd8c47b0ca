"""The steps from noise to a picture: DDPM (Ho et al. 2020) and DDIM (Song, Meng and Ermon 2021).

Steps that are fewer than those of the training are a part of them, evenly apart: `leading` ends at the first
of them, `trailing` begins at the last (Lin et al. 2024). What is clipped is the picture that a step is led
to; the noise that goes on from there is that between it and the noised one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.objectives.draws import Words
from pipeline.objectives.vision.noise import Kind, normals

Threshold = Literal["none", "clip", "dynamic"]
Say = Callable[[Tensor, int], Tensor]
"""What a denoiser says of noised samples [B, ...] at a time."""
START, STEPS = 200, 201  # what a number is drawn for: the first noise, and from here on that of each step
PERCENTILE = 0.995
"""Of a picture's numbers, that Imagen's dynamic threshold is."""


@dataclass(frozen=True)
class Sampler:
    """How to go from noise to samples.

    `eta` is DDIM's share of the noise that DDPM would add: 0 adds none.
    """

    remaining: NDArray[np.float64]
    """[T] alpha_bar of the schedule."""
    predicts: Kind
    steps: int
    kind: Literal["ddpm", "ddim"] = "ddim"
    spacing: Literal["leading", "trailing"] = "trailing"
    threshold: Threshold = "dynamic"
    eta: float = 0.0

    def times(self) -> list[int]:
        """The times that a denoiser is asked at, from noise on."""
        count = len(self.remaining)
        if self.spacing == "leading":
            return [step * (count // self.steps) for step in reversed(range(self.steps))]
        return [int(one) - 1 for one in np.round(np.arange(count, 0, -count / self.steps))]

    def sample(self, say: Say, keys: Words, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """[B, *shape], a sample for each key."""
        x = torch.from_numpy(normals(keys, shape, START)).to(device)
        times = self.times()
        for number, (time, before) in enumerate(zip(times, [*times[1:], -1], strict=True)):
            added = self.kind == "ddpm" or self.eta > 0
            noise = torch.from_numpy(normals(keys, shape, STEPS + number)).to(device) if added else None
            x = self.step(say(x, time), x, time, before, noise)
        return x

    def step(self, said: Tensor, x: Tensor, time: int, before: int, noise: Tensor | None) -> Tensor:
        """The sample at the time `before`, which is -1 behind the last step."""
        left = float(self.remaining[time])
        left_before = float(self.remaining[before]) if before >= 0 else 1.0
        found = limited(sample_of(said, x, left, self.predicts), self.threshold)
        variance = (1 - left_before) / (1 - left) * (1 - left / left_before)
        if self.kind == "ddpm":
            first = left_before**0.5 * (1 - left / left_before) / (1 - left)
            second = (left / left_before) ** 0.5 * (1 - left_before) / (1 - left)
            mean = first * found + second * x
            return mean if before < 0 or noise is None else mean + variance**0.5 * noise
        spread = self.eta * variance**0.5
        towards = (x - left**0.5 * found) / (1 - left) ** 0.5
        out = left_before**0.5 * found + max(0.0, 1 - left_before - spread**2) ** 0.5 * towards
        return out if not spread or noise is None else out + spread * noise


def sample_of(said: Tensor, x: Tensor, left: float, predicts: Kind) -> Tensor:
    """The sample without noise that a denoiser's words mean; `left` is alpha_bar."""
    if predicts == "sample":
        return said
    if predicts == "noise":
        return (x - (1 - left) ** 0.5 * said) / left**0.5
    return left**0.5 * x - (1 - left) ** 0.5 * said


def limited(found: Tensor, threshold: Threshold) -> Tensor:
    """Samples in [-1, 1]: cut there, or of each first divided by its 99.5th percentile where that is larger
    (Saharia et al. 2022, section 2.3)."""
    if threshold == "none":
        return found
    if threshold == "clip":
        return found.clamp(-1, 1)
    most = found.flatten(1).float().abs().quantile(PERCENTILE, dim=1).clamp(min=1.0)
    most = most.to(found.dtype).view(-1, *(1,) * (found.dim() - 1))
    return found.clamp(-most, most) / most


def guided(without: Tensor, told: Tensor, weight: float) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022): e(0) + w (e(c) - e(0)); a weight of 1 is none."""
    return without + weight * (told - without)
