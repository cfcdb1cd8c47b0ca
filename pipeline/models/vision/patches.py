"""From pixels to the residual stream: the patch embedding, positions in the plane, the class token."""

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from torch import Tensor, nn

from pipeline.config.vision import VisionConfig
from pipeline.models.layer import Flow
from pipeline.models.linear import WholeLinear, mark_partial, own_rows
from pipeline.models.vision.pixels import normalised, patched


class PatchEmbedding(nn.Module):
    """A linear map of each patch's colours (Dosovitskiy et al. 2021, section 3.1), whole on every rank."""

    def __init__(self, vision: VisionConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.vision = vision
        self.linear = WholeLinear(
            megatron,
            vision.patch_numbers,
            vision.hidden_size,
            bias=vision.patch_bias,
            std=vision.initial_std,
        )

    def forward(self, flow: Flow) -> Flow:
        """Bytes [B, Y, X, 3] to `hidden` [N, B, H], whole whatever the layout; of I images a text B x I."""
        pixels_BYXC = flow["pixels"].flatten(0, -4)
        patches_BNP = patched(normalised(pixels_BYXC, self.vision), self.vision.patch_size)
        return {"hidden": self.linear(patches_BNP.transpose(0, 1).to(self.linear.weight.dtype))}


class PlanePositions(nn.Module):
    """Positions of patches, learned or fixed, and the class token in front of them.

    A batch's `visible` [B, K] are the patches that a masked autoencoder's encoder sees: they are chosen once
    they have their positions, and the class token is always seen (He et al. 2022, section 3).
    """

    def __init__(self, vision: VisionConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.vision, self.megatron = vision, megatron
        dtype, width = megatron.params_dtype, vision.hidden_size
        assert vision.positions != "none"
        self.class_token = nn.Parameter(torch.zeros(width, dtype=dtype)) if vision.class_token else None
        self.weight = None
        if vision.positions == "learned":
            self.weight = nn.Parameter(torch.empty(vision.tokens, width, dtype=dtype))
            self.weight.initial_std = vision.initial_std
        for parameter in self.parameters():
            mark_partial(parameter, megatron)

    def table(self, like: Tensor) -> Tensor:
        """[T, H], of type and device of another tensor."""
        if self.weight is not None:
            return self.weight
        return plane_sines(self.vision.side, self.vision.hidden_size, self.vision.class_token).to(like)

    def forward(self, flow: Flow) -> Flow:
        """Add positions, choose what is visible, put the class token in front; then this rank's part."""
        hidden_NBH = flow["hidden"]
        table_TH = self.table(hidden_NBH)
        first = len(table_TH) - len(hidden_NBH)
        hidden_SBH = hidden_NBH + table_TH[first:].unsqueeze(1)
        if "visible" in flow:
            hidden_SBH = chosen(hidden_SBH, flow["visible"])
        if self.class_token is not None:
            token_H = self.class_token + table_TH[0]
            hidden_SBH = torch.cat((token_H.expand(1, hidden_SBH.shape[1], -1), hidden_SBH))
        return {"hidden": own_rows(hidden_SBH, 0, self.megatron)}


def chosen(hidden_NBH: Tensor, places_BK: Tensor) -> Tensor:
    """[K, B, H], of each image the positions that are named for it."""
    index_KBH = places_BK.long().t().unsqueeze(2).expand(-1, -1, hidden_NBH.shape[2])
    return hidden_NBH.gather(0, index_KBH)


def plane_sines(side: int, width: int, class_token: bool) -> Tensor:
    """[T, H] sines and cosines of a patch's column in one half and of its row in the other.

    In the order of the authors' code of MAE (He et al. 2022, appendix A.1): columns before rows, all sines of
    each before all cosines; the class token's row is zero.
    """
    rates = 10_000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles_SR = torch.arange(side, dtype=torch.float64).unsqueeze(1) * rates
    line_SH = torch.cat((angles_SR.sin(), angles_SR.cos()), 1)
    columns, rows = line_SH.repeat(side, 1), line_SH.repeat_interleave(side, 0)
    table_NH = torch.cat((columns, rows), 1).float()
    return F.pad(table_NH, (0, 0, 1, 0)) if class_token else table_NH


def resized(table_TH: Tensor, tokens: int, class_token: bool) -> Tensor:
    """A table of positions for another number of patches, bicubic in the plane, the class token's as it is.

    (Dosovitskiy et al. 2021, section 3.2: fine-tuning at another resolution.)
    """
    first = int(class_token)
    own, (before, after) = table_TH[:first], (len(table_TH) - first, tokens - first)
    if before == after:
        return table_TH
    sides = round(before**0.5), round(after**0.5)
    plane = table_TH[first:].float().t().reshape(1, -1, sides[0], sides[0])
    stretched = F.interpolate(plane, size=(sides[1], sides[1]), mode="bicubic", align_corners=False)
    return torch.cat((own, stretched.flatten(2)[0].t().to(table_TH)))
