"""Angles of rotary positions (Su et al., 2021), and how they are stretched for texts longer than trained on.

linear    Chen et al. 2023: positions divided by a factor
dynamic   bloc97 2023: the base grows with the text, once that is longer than trained on
yarn      Peng et al. 2023: slow pairs are stretched, fast ones not, with a ramp between
llama3    Meta 2024: the same by wavelengths
"""

import math

import torch
from torch import Tensor

from pipeline.config.rope import RopeScaling


def turn_rates(size: int, base: float, scaling: RopeScaling | None, positions: Tensor) -> Tensor:
    """[D / 2] radians that each pair of a head of `size` numbers turns by from one position to the next.

    `positions` are those of the text; only the furthest one counts, and for `dynamic` alone.
    """
    steps = torch.arange(0, size, 2, dtype=torch.float32, device=positions.device)
    if scaling is None:
        return base ** (-steps / size)
    if scaling.kind == "dynamic":
        return 1.0 / (_grown(size, base, scaling, positions) ** (steps / size))
    rates = 1.0 / (base ** (steps / size))
    if scaling.kind == "linear":
        return rates / scaling.factor
    if scaling.kind == "llama3":
        return _by_wavelength(rates, scaling)
    return _by_ramp(rates, size, base, scaling)


def _grown(size: int, base: float, scaling: RopeScaling, positions: Tensor) -> Tensor:
    assert scaling.original_positions is not None
    length = (positions.max() + 1).clamp(min=scaling.original_positions)
    stretch = scaling.factor * length / scaling.original_positions - (scaling.factor - 1)
    return base * stretch ** (size / (size - 2))


def _by_wavelength(rates: Tensor, scaling: RopeScaling) -> Tensor:
    assert scaling.original_positions is not None
    turns = scaling.original_positions * rates / (2 * math.pi)
    low, high = scaling.low_frequency, scaling.high_frequency
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - kept) * rates / scaling.factor + kept * rates


def _by_ramp(rates: Tensor, size: int, base: float, scaling: RopeScaling) -> Tensor:
    low, high = (_pair(turns, size, base, scaling) for turns in (scaling.beta_fast, scaling.beta_slow))
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    if low == high:
        high += 0.001
    places = torch.arange(len(rates), dtype=torch.float32, device=rates.device)
    stretched = ((places - low) / (high - low)).clamp(0, 1)
    return rates / scaling.factor * stretched + rates * (1 - stretched)


def _pair(turns: float, size: int, base: float, scaling: RopeScaling) -> float:
    """The number of the pair, as a fraction, that turns so often within the original length."""
    assert scaling.original_positions is not None
    return size * math.log(scaling.original_positions / (turns * 2 * math.pi)) / (2 * math.log(base))
