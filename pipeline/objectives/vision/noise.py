"""Noise schedules of diffusion, and numbers of a normal distribution that follow from keys.

A picture x with t + 1 steps of noise is a x + s noise with a^2 = alpha_bar[t] and s^2 = 1 - a^2 (Ho, Jain and
Abbeel 2020, equation 4). To import this needs no torch.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.config.diffusion import DiffusionConfig
from pipeline.objectives.draws import Words, uniform

Floats = NDArray[np.float32]
Kind = Literal["noise", "sample", "velocity"]
OFFSET, MOST = 0.008, 0.999
"""Of the cosine schedule: what keeps its first variances from zero, and the largest variance."""


def variances(settings: DiffusionConfig) -> NDArray[np.float64]:
    """[T] the variance that each step adds: beta."""
    count = settings.steps
    if settings.schedule == "linear":
        rising: NDArray[np.float64] = np.linspace(settings.first_variance, settings.last_variance, count)
        return rising
    left = np.cos((np.arange(count + 1) / count + OFFSET) / (1 + OFFSET) * np.pi / 2) ** 2
    found: NDArray[np.float64] = np.minimum(1 - left[1:] / left[:-1], MOST)
    return found


def remaining(settings: DiffusionConfig) -> NDArray[np.float64]:
    """[T] alpha_bar: the share of a picture's variance that is left after each step."""
    found: NDArray[np.float64] = np.cumprod(1 - variances(settings), dtype=np.float64)
    return found


def noised(x: Floats, noise: Floats, alpha_bar_B: NDArray[np.float64]) -> Floats:
    """[B, ...] pictures with so much of them left."""
    a, s = factors(alpha_bar_B, x.ndim)
    return a * x + s * noise


def wanted(kind: Kind, x: Floats, noise: Floats, alpha_bar_B: NDArray[np.float64]) -> Floats:
    """What a denoiser should say of them."""
    if kind == "noise":
        return noise
    if kind == "sample":
        return x
    a, s = factors(alpha_bar_B, x.ndim)
    return a * noise - s * x


def factors(alpha_bar_B: NDArray[np.float64], dimensions: int) -> tuple[Floats, Floats]:
    """Those of pictures and of noise, [B, 1, ...]."""
    shape = (-1, *(1,) * (dimensions - 1))
    a = np.sqrt(alpha_bar_B).astype(np.float32).reshape(shape)
    s = np.sqrt(1 - alpha_bar_B).astype(np.float32).reshape(shape)
    return a, s


def normals(keys: Words, shape: tuple[int, ...], purpose: int) -> Floats:
    """[B, *shape] numbers of a standard normal distribution (Box and Muller 1958)."""
    count = int(np.prod(shape))
    half = -(-count // 2)
    drawn = uniform(keys, 2 * half, purpose)
    length = np.sqrt(-2 * np.log1p(-drawn[:, :half]))  # 1 - u is never 0
    angle = 2 * np.pi * drawn[:, half:]
    both = np.concatenate((length * np.cos(angle), length * np.sin(angle)), 1)
    return both[:, :count].astype(np.float32).reshape(len(keys), *shape)
