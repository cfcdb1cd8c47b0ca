"""Images as tokens of a learned codebook, and pictures of such tokens (Yu et al. 2021, ViT-VQGAN).

A tower's state of each patch is projected to the few numbers of a code; it and the codes are brought to
length one, and the nearest code stands for the patch. A decoder of transformer layers makes colours of codes.
There is no adversarial and no perceptual loss.
"""

from typing import cast

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from torch import Tensor, nn

from pipeline.config.quantiser import QuantiserConfig
from pipeline.config.vision import VisionConfig
from pipeline.models.layer import Flow, Layer
from pipeline.models.linear import WholeLinear, mark_partial
from pipeline.models.vision.decoder import decoder
from pipeline.models.vision.patches import plane_sines
from pipeline.models.vision.tower import tower

QUANTISER = "quantiser"
"""Prefix of its names, between those of a tower and of a decoder."""
SHARPNESS = 4.0
"""What cosines are multiplied by where all codes have a share in a feature."""


class Quantiser(nn.Module):
    """The nearest code of each patch, whose gradient goes on to the patch as it is (straight through)."""

    def __init__(self, vision: VisionConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.settings = cast(QuantiserConfig, vision.quantiser)
        size, width = self.settings.code_size, vision.hidden_size
        self.linear = WholeLinear(megatron, width, size, bias=True, std=width**-0.5)
        self.codebook = nn.Parameter(torch.empty(self.settings.codes, size, dtype=megatron.params_dtype))
        self.codebook.initial_std = size**-0.5
        mark_partial(self.codebook, megatron)

    def codes(self) -> Tensor:
        """[K, D] of length one, float32."""
        return F.normalize(self.codebook.float(), dim=1)

    def forward(self, flow: Flow) -> Flow:
        """`hidden` becomes codes [N, B, D]; adds their numbers `codes` [B, N] and `code_errors` [B]."""
        found_NBD = F.normalize(self.linear(flow["hidden"]).float(), dim=2)
        codes_KD = self.codes()
        with torch.no_grad():
            cosines_NBK = found_NBD @ codes_KD.t()
            numbers_NB = cosines_NBK.argmax(2)
        chosen_NBD = F.embedding(numbers_NB, codes_KD)
        own_NB = (found_NBD.detach() - chosen_NBD).square().mean(2)
        errors_NB = own_NB + self.settings.commitment * (found_NBD - chosen_NBD.detach()).square().mean(2)
        if self.settings.spread:
            errors_NB = errors_NB + self.settings.spread * drawn(found_NBD, codes_KD, cosines_NBK)
        through_NBD = found_NBD + (chosen_NBD - found_NBD).detach()
        return {
            "hidden": through_NBD.to(self.codebook.dtype),
            "codes": numbers_NB.t().contiguous(),
            "code_errors": errors_NB.mean(0),
        }


def drawn(found_NBD: Tensor, codes_KD: Tensor, cosines_NBK: Tensor) -> Tensor:
    """[N, B] mean squared distances of a feature to all codes, each by its share of a softmax over them.

    The rule for dead codes: a code that nothing chose still moves to where features are. It needs no counts
    of earlier steps, so no layout and no restart changes it. (Every unit learns from every input by how near
    it is in Martinetz et al. 1993, "neural gas".)
    """
    shares_NBK = (SHARPNESS * cosines_NBK).softmax(2)
    between_NB = (found_NBD.detach() * (shares_NBK @ codes_KD)).sum(2)
    return (2.0 - 2.0 * between_NB) / codes_KD.shape[1]


class Spelled(nn.Module):
    """From codes to the width of the decoder, with positions of its own."""

    def __init__(self, vision: VisionConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.vision = vision
        settings = cast(QuantiserConfig, vision.quantiser)
        width = vision.decoder_hidden_size
        self.linear = WholeLinear(megatron, settings.code_size, width, bias=True, std=1.0)

    def forward(self, flow: Flow) -> Flow:
        """Codes [N, B, D] of length one to states [N, B, H], as large as the sines that are added."""
        hidden_NBH = self.linear(flow["hidden"])
        table_NH = plane_sines(self.vision.side, self.vision.decoder_hidden_size, False).to(hidden_NBH)
        return {"hidden": hidden_NBH + table_NH.unsqueeze(1)}


def quantised(vision: VisionConfig, megatron: ModelParallelConfig) -> list[Layer]:
    """From `pixels` to `codes`, `code_errors` and `restored` [N, B, P]."""
    given = ("codes", "code_errors")
    return [
        *tower(vision, megatron),
        Layer(QUANTISER, Quantiser, (vision, megatron), gives=given),
        *decoder(vision, megatron, Spelled),
    ]
