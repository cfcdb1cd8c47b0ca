"""Colours as numbers, and patches of them."""

import torch
from torch import Tensor

from pipeline.config.vision import CHANNELS, VisionConfig


def normalised(pixels_BYXC: Tensor, vision: VisionConfig) -> Tensor:
    """Bytes [B, Y, X, 3] as float32 numbers, each colour less its mean over its deviation."""
    mean, std = (pixels_BYXC.new_tensor(one, dtype=torch.float32) for one in (vision.mean, vision.std))
    return (pixels_BYXC.float() / 255.0 - mean) / std


def patched(pixels_BYXC: Tensor, size: int) -> Tensor:
    """[B, N, size x size x 3] patches of size x size pixels, row by row; in a patch row, column, colour."""
    batch, height, width, _ = pixels_BYXC.shape
    cut = pixels_BYXC.reshape(batch, height // size, size, width // size, size, CHANNELS)
    return cut.transpose(2, 3).reshape(batch, -1, size * size * CHANNELS)


def unpatched(patches_BNP: Tensor, size: int) -> Tensor:
    """The images [B, Y, X, 3] of square grids of patches: the way back from `patched`."""
    batch, count, _ = patches_BNP.shape
    side = round(count**0.5)
    cut = patches_BNP.reshape(batch, side, side, size, size, CHANNELS)
    return cut.transpose(2, 3).reshape(batch, side * size, side * size, CHANNELS)


def coloured(patches_BNP: Tensor, vision: VisionConfig) -> Tensor:
    """What a decoder says of patches as images [B, Y, X, 3] of bytes."""
    made = unpatched(patches_BNP.float(), vision.patch_size)
    colours = made * made.new_tensor(vision.std) + made.new_tensor(vision.mean)
    return (colours * 255).round().clamp(0, 255).to(torch.uint8)
