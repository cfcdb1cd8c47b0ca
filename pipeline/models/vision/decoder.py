"""A masked autoencoder's decoder: from what an encoder says of visible patches to the colours of all.

He et al. 2022, section 3. Its names begin with `decoder.`; fine-tuning leaves it behind.
"""

import torch
from megatron.core import ModelParallelConfig
from torch import nn

from pipeline.config.vision import VisionConfig
from pipeline.costs import flops
from pipeline.costs.lengths import Lengths
from pipeline.models.block import Block, BlockKind
from pipeline.models.layer import Flow, Layer
from pipeline.models.linear import WholeLinear
from pipeline.models.norm import Norm, normalise
from pipeline.models.vision.patches import chosen, plane_sines

DECODER = "decoder."
"""Prefix of its names."""


class FilledUp(nn.Module):
    """A learned token for each hidden patch, all patches in their places, positions of the decoder's own."""

    def __init__(self, vision: VisionConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.vision = vision
        width, std = vision.decoder_hidden_size, vision.initial_std
        self.linear = WholeLinear(megatron, vision.hidden_size, width, bias=True, std=std)
        self.mask_token = nn.Parameter(torch.empty(width, dtype=megatron.params_dtype))
        self.mask_token.initial_std = std

    def forward(self, flow: Flow) -> Flow:
        """Visible ones [1 + K, B, H] to all [1 + N, B, D], in the order of `restore`."""
        first = int(self.vision.class_token)
        narrow_KBD, restore_BN = self.linear(flow["hidden"]), flow["restore"]
        hidden = restore_BN.shape[1] - (len(narrow_KBD) - first)
        masks = self.mask_token.expand(hidden, narrow_KBD.shape[1], -1)
        all_NBD = chosen(torch.cat((narrow_KBD[first:], masks)), restore_BN)
        table_SD = plane_sines(self.vision.side, self.vision.decoder_hidden_size, bool(first)).to(all_NBD)
        return {"hidden": torch.cat((narrow_KBD[:first], all_NBD)) + table_SD.unsqueeze(1)}


class Colours(nn.Module):
    """A linear map of each patch's state to what its pixels look like."""

    def __init__(self, vision: VisionConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.first = int(vision.class_token)
        width, std = vision.decoder_hidden_size, vision.initial_std
        self.linear = WholeLinear(megatron, width, vision.patch_numbers, bias=True, std=std)

    def forward(self, flow: Flow) -> Flow:
        """Add `restored` [N, B, P]."""
        return {"restored": self.linear(flow["hidden"][self.first :])}


def decoder(
    vision: VisionConfig, megatron: ModelParallelConfig, start: type[nn.Module] = FilledUp
) -> list[Layer]:
    """From what `start` reads, here the hidden states of visible patches, to `restored` [N, B, P]."""
    model = vision.decoder
    common = (model, megatron)
    cost = flops.block_cost(model, Lengths(vision.tokens), in_encoder=False)
    blocks = [
        Layer(f"{DECODER}blocks.{i}", Block, (*common, False, BlockKind(rotary="")), cost, block=True)
        for i in range(model.layers)
    ]
    return [
        Layer(f"{DECODER}start", start, (vision, megatron), ends=("restore",)),
        *blocks,
        Layer(f"{DECODER}norm", Norm, common, forward=normalise),
        Layer(f"{DECODER}out", Colours, (vision, megatron), gives=("restored",), ends=("hidden",)),
    ]
