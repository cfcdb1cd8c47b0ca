"""A transformer block that a vector scales, shifts and gates: adaLN-zero (Peebles and Xie 2023, section 3.2).

Where there is a caption the block looks at its tokens between its attention and its MLP. What every
branch adds is zero at first: the maps to scales, shifts and gates, and the output of the attention to a
caption, are.
"""

import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from torch import Tensor, nn

from pipeline.config.vision import VisionConfig
from pipeline.models.attention import CrossAttention, self_attention
from pipeline.models.layer import Flow
from pipeline.models.linear import WholeLinear
from pipeline.models.mlp import MLP
from pipeline.models.norm import Dropout, Norm
from pipeline.models.vision.pixels import unpatched


class DenoisingBlock(nn.Module):
    """Attention, attention to a caption, MLP."""

    def __init__(self, vision: VisionConfig, megatron: ModelParallelConfig, cross: bool) -> None:
        super().__init__()
        model = vision.blocks
        self.epsilon = vision.norm_epsilon
        self.modulation = WholeLinear(megatron, model.hidden_size, 6 * model.hidden_size, bias=True, std=0.0)
        self.attention = self_attention(model, megatron, causal=False)
        self.cross = None
        if cross:
            self.cross_norm = Norm(model, megatron)
            self.cross = CrossAttention(model, megatron)
            self.cross.output.weight.initial_std = 0.0
        self.mlp = MLP(model, megatron)
        self.dropout = Dropout(model, megatron)

    def forward(self, flow: Flow) -> Flow:
        """Add each branch to the residual stream."""
        x_SBH = flow["hidden"]
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(F.silu(flow["told"])).chunk(6, 1)
        attended = self.attention(modulated(x_SBH, shift, scale, self.epsilon), None, None)
        x_SBH = x_SBH + gate * self.dropout(attended)
        if self.cross is not None:
            looked = self.cross(self.cross_norm(x_SBH), flow["memory"], flow.get("memory_mask"))
            x_SBH = x_SBH + self.dropout(looked)
        inner = self.mlp(modulated(x_SBH, mlp_shift, mlp_scale, self.epsilon))
        return {"hidden": x_SBH + mlp_gate * self.dropout(inner)}


class Said(nn.Module):
    """From the last states to a picture of what is said; zero at first."""

    def __init__(self, vision: VisionConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.vision, width = vision, vision.hidden_size
        self.modulation = WholeLinear(megatron, width, 2 * width, bias=True, std=0.0)
        self.linear = WholeLinear(megatron, width, vision.patch_numbers, bias=True, std=0.0)

    def forward(self, flow: Flow) -> Flow:
        """Add `said` [B, Y, X, 3]."""
        shift, scale = self.modulation(F.silu(flow["told"])).chunk(2, 1)
        patches_NBP = self.linear(modulated(flow["hidden"], shift, scale, self.vision.norm_epsilon))
        return {"said": unpatched(patches_NBP.transpose(0, 1), self.vision.patch_size)}


def modulated(x_SBH: Tensor, shift_BH: Tensor, scale_BH: Tensor, epsilon: float) -> Tensor:
    """Normalised states, scaled by 1 + `scale` and shifted."""
    normed = F.layer_norm(x_SBH, x_SBH.shape[-1:], eps=epsilon)
    return normed * (1 + scale_BH) + shift_BH
