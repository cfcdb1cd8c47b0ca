"""Swin Transformer (Liu et al. 2021): attention inside windows, over maps that halve from stage to stage.

Every second layer shifts its windows. Hidden states are [S, B, H] as everywhere, S being the places of a
square map row by row; a layer cuts them into windows and puts them together again. A map that windows do not
divide is filled up with zeros below and on the right, whose places are then attended to; one no larger than a
window is one window, and nothing is shifted.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.config.vision import VisionConfig
from pipeline.models.attention import self_attention
from pipeline.models.layer import Flow
from pipeline.models.linear import WholeLinear, mark_sharded
from pipeline.models.mlp import MLP
from pipeline.models.norm import Dropout, Norm
from pipeline.models.stochastic_depth import Depth, thinned

ACROSS = -100.0
"""Added to scores between places that the shift has brought together: the authors' number."""


class SwinBlock(nn.Module):
    """Attention in windows and an MLP, each behind a norm."""

    def __init__(
        self,
        model: ModelConfig,
        megatron: ModelParallelConfig,
        side: int,
        window: int,
        shifted: bool,
        depth: Depth,
    ) -> None:
        """`side` is that of the map, in places."""
        super().__init__()
        self.side, self.window = side, min(side, window)
        self.shift = window // 2 if shifted and side > window else 0
        self.depth = depth
        self.attention_norm = Norm(model, megatron)
        self.attention = self_attention(model, megatron, causal=False)
        heads = model.heads // megatron.tensor_model_parallel_size
        rows = (2 * window - 1) ** 2
        self.relative = nn.Parameter(torch.empty(rows, heads, dtype=megatron.params_dtype))
        mark_sharded(self.relative, 1, 1)
        self.relative.initial_std = model.initial_std
        self.full = window
        self.mlp_norm = Norm(model, megatron)
        self.mlp = MLP(model, megatron)
        self.dropout = Dropout(model, megatron)

    def forward(self, flow: Flow) -> Flow:
        """Add both branches to the residual stream."""
        x_SBH = flow["hidden"]
        branch = thinned(self._in_windows, flow, self.depth, 0)
        x_SBH = x_SBH + self.dropout(branch(self.attention_norm(x_SBH)))
        through = thinned(self.mlp, flow, self.depth, 1)
        return {"hidden": x_SBH + self.dropout(through(self.mlp_norm(x_SBH)))}

    def _in_windows(self, x_SBH: Tensor) -> Tensor:
        """Attend inside each window of the map."""
        side, window, shift = self.side, self.window, self.shift
        plane = x_SBH.unflatten(0, (side, side))
        more = -side % window
        if more:
            plane = F.pad(plane, (0, 0, 0, 0, 0, more, 0, more))
        if shift:
            plane = plane.roll((-shift, -shift), (0, 1))
        count = plane.shape[0] // window
        # [rows of windows, rows in one, columns of windows, columns in one, B, H]: places first, windows next
        cut = plane.unflatten(1, (count, window)).unflatten(0, (count, window))
        places = cut.permute(1, 3, 0, 2, 4, 5).flatten(2, 4).flatten(0, 1)
        mask = self._bias(count, x_SBH)
        out = self.attention(places, mask.repeat_interleave(x_SBH.shape[1], 0), None)
        whole = out.unflatten(0, (window, window)).unflatten(2, (count, count, x_SBH.shape[1]))
        plane = whole.permute(2, 0, 3, 1, 4, 5).flatten(0, 1).flatten(1, 2)
        if shift:
            plane = plane.roll((shift, shift), (0, 1))
        return plane[:side, :side].flatten(0, 1)

    def _bias(self, count: int, like: Tensor) -> Tensor:
        """[windows, N, S, S] what is added to the scores: by relative place, and across a seam."""
        index = relative_places(self.window, self.full).to(like.device)
        bias_NST = self.relative[index].permute(2, 0, 1)
        if not self.shift:
            return bias_NST.expand(count * count, -1, -1, -1)
        seams = across_seams(count * self.window, self.window, self.shift).to(like)
        return bias_NST + seams.unsqueeze(1)


@lru_cache
def relative_places(window: int, full: int) -> Tensor:
    """[S, S] the row of the table for each pair of places: rows apart and columns apart, row by row."""
    places = torch.arange(window)
    apart = places.unsqueeze(1) - places + full - 1
    rows = apart.repeat_interleave(window, 0).repeat_interleave(window, 1)
    columns = apart.repeat(window, window)
    return rows * (2 * full - 1) + columns


@lru_cache
def across_seams(side: int, window: int, shift: int) -> Tensor:
    """[windows, S, S] what is added between places that were not neighbours before the shift."""
    places = torch.arange(side)
    bands = (places >= side - window).long() + (places >= side - shift).long()
    regions = (bands.unsqueeze(1) * 3 + bands).float()
    count = side // window
    cut = regions.view(count, window, count, window).transpose(1, 2).reshape(count * count, -1)
    return torch.where(cut.unsqueeze(1) == cut.unsqueeze(2), 0.0, ACROSS)


class Merging(nn.Module):
    """Four neighbours beside one another, a norm, half as many numbers: half the side, twice the width."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig, side: int) -> None:
        super().__init__()
        self.side, width = side, model.hidden_size
        self.norm = Norm(model, megatron, 4 * width)
        self.linear = WholeLinear(megatron, 4 * width, 2 * width, bias=False, std=model.initial_std)

    def forward(self, flow: Flow) -> Flow:
        """[S, B, H] to [S / 4, B, 2 H]; an odd side is filled up with zeros."""
        plane = flow["hidden"].unflatten(0, (self.side, self.side))
        if self.side % 2:
            plane = F.pad(plane, (0, 0, 0, 0, 0, 1, 0, 1))
        parts = [plane[row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return {"hidden": self.linear(self.norm(torch.cat(parts, -1).flatten(0, 1)))}


def sides(vision: VisionConfig) -> list[int]:
    """Side of the map of each stage."""
    found = [vision.side]
    for _ in vision.depths[1:]:
        found.append(-(-found[-1] // 2))
    return found
