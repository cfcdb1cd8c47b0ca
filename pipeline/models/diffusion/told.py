"""From a noised picture to hidden states, and what a denoiser is told as a vector and as tokens."""

import math

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from torch import Tensor, nn

from pipeline.config.diffusion import DiffusionConfig
from pipeline.config.vision import VisionConfig
from pipeline.models.layer import Flow
from pipeline.models.linear import WholeLinear
from pipeline.models.norm import Norm
from pipeline.models.vision.pixels import patched

FREQUENCIES, LONGEST = 256, 10_000.0
"""Numbers that stand for a time before it is embedded, and the longest period among them."""


class TimeEmbedding(nn.Module):
    """A number of steps as a vector: cosines and sines, then two linear maps with a SiLU between them."""

    def __init__(self, vision: VisionConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        width, std = vision.hidden_size, vision.initial_std
        self.up = WholeLinear(megatron, FREQUENCIES, width, bias=True, std=std)
        self.out = WholeLinear(megatron, width, width, bias=True, std=std)

    def forward(self, times_B: Tensor) -> Tensor:
        """[B, H]."""
        waves_BF = waves(times_B).to(self.up.weight.dtype)
        found: Tensor = self.out(F.silu(self.up(waves_BF)))
        return found


def waves(times_B: Tensor) -> Tensor:
    """[B, F] cosines, then sines, of periods from 2 pi to 2 pi times the longest."""
    half = FREQUENCIES // 2
    rates = torch.exp(-math.log(LONGEST) * torch.arange(half, device=times_B.device).float() / half)
    angles = times_B.float().unsqueeze(1) * rates
    return torch.cat((angles.cos(), angles.sin()), 1)


class Start(nn.Module):
    """What the first block is given: patches, the vector that scales and shifts, the tokens of a caption.

    The mean of a caption's states is a part of the vector, as in Imagen (Saharia et al. 2022, section 2.1). A
    small picture beside the noised one is made as large and lies behind it as three more colours.
    """

    def __init__(
        self, vision: VisionConfig, diffusion: DiffusionConfig, megatron: ModelParallelConfig
    ) -> None:
        super().__init__()
        self.vision = vision
        width, std = vision.hidden_size, vision.initial_std
        pictures = 2 if diffusion.low_size else 1
        self.patches = WholeLinear(megatron, pictures * vision.patch_numbers, width, bias=True, std=std)
        self.time = TimeEmbedding(vision, megatron)
        self.low_time = TimeEmbedding(vision, megatron) if diffusion.low_size else None
        self.classes = None
        if diffusion.condition == "label":
            assert diffusion.classes is not None
            self.classes = nn.Parameter(
                torch.empty(diffusion.classes + 1, width, dtype=megatron.params_dtype)
            )
            self.classes.initial_std = std
        self.text: WholeLinear | None = None
        if diffusion.condition == "text":
            assert diffusion.text_size is not None
            self.text = WholeLinear(megatron, diffusion.text_size, width, bias=True, std=std)
            self.pooled_norm = Norm(vision.blocks, megatron, diffusion.text_size)
            self.pooled = WholeLinear(megatron, diffusion.text_size, width, bias=True, std=std)

    def forward(self, flow: Flow) -> Flow:
        """`hidden` [N, B, H], `told` [B, H], and of captions `memory` [S, B, H]."""
        size, dtype = self.vision.patch_size, self.patches.weight.dtype
        seen_BNP = patched(flow["noised"], size)
        told_BH = self.time(flow["times"])
        if self.low_time is not None:
            seen_BNP = torch.cat((seen_BNP, patched(flow["low"], size)), 2)
            told_BH = told_BH + self.low_time(flow["low_times"])
        if self.classes is not None:
            told_BH = told_BH + F.embedding(flow["classes"].long(), self.classes)
        found = {"hidden": self.patches(seen_BNP.transpose(0, 1).to(dtype))}
        if self.text is not None:
            states_SBD = flow["text_states"].to(dtype)
            mean_BD = mean_state(states_SBD, flow.get("encoder_segments"))
            told_BH = told_BH + self.pooled(self.pooled_norm(mean_BD))
            found["memory"] = self.text(states_SBD)
        return {**found, "told": told_BH}


def mean_state(states_SBD: Tensor, segments_BS: Tensor | None) -> Tensor:
    """[B, D] over a text's own tokens."""
    if segments_BS is None:
        return states_SBD.mean(0)
    real_SB1 = (segments_BS != 0).t().unsqueeze(2).to(states_SBD.dtype)
    return (states_SBD * real_SB1).sum(0) / real_SB1.sum(0)
