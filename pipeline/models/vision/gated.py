"""A language model that looks at images through gated cross-attention (Alayrac et al. 2022, "Flamingo").

Behind a tower a resampler makes of any number of patches a few latents, which layers between those of the
language model attend to. Their gates start at 0, so that the model begins as the language model that it was;
a text sees the last image before it alone, and before any image nothing.
"""

import torch
from megatron.core import ModelParallelConfig
from torch import Tensor, nn

from pipeline.config import ModelConfig, PipelineConfig
from pipeline.config.vision import VisionConfig
from pipeline.costs import flops
from pipeline.costs.lengths import Lengths
from pipeline.costs.vision import plain_layer
from pipeline.models.attention import CrossAttention
from pipeline.models.build import Builder, Head
from pipeline.models.layer import Flow, Layer
from pipeline.models.mlp import MLP
from pipeline.models.norm import Norm
from pipeline.models.vision.in_text import last_but_one

RESAMPLER, GATED = "resampler", "gated."
"""Prefixes of their names."""


class ResamplerLayer(nn.Module):
    """Latents that look at patches and at themselves, then an MLP."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.patch_norm, self.latent_norm = Norm(model, megatron), Norm(model, megatron)
        self.attention = CrossAttention(model, megatron)
        self.mlp_norm, self.mlp = Norm(model, megatron), MLP(model, megatron)

    def forward(self, latents_LBH: Tensor, patches_NBH: Tensor) -> Tensor:
        """Keys and values are of [patches; latents], each normed by its own norm; queries are the latents."""
        queries_LBH = self.latent_norm(latents_LBH)
        seen_TBH = torch.cat((self.patch_norm(patches_NBH), queries_LBH))
        latents_LBH = latents_LBH + self.attention(queries_LBH, seen_TBH, None)
        return latents_LBH + self.mlp(self.mlp_norm(latents_LBH))


class Resampler(nn.Module):
    """From the patches of each image to latents, as many whatever the image's size."""

    def __init__(self, vision: VisionConfig, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.first, width = int(vision.class_token), vision.width
        self.latents = nn.Parameter(torch.empty(vision.latents, width, dtype=megatron.params_dtype))
        self.latents.initial_std = 0.02
        made = plain_layer(model, width, vision.heads)
        self.layers = nn.ModuleList(ResamplerLayer(made, megatron) for _ in range(vision.resampler_layers))
        self.norm = Norm(made, megatron)

    def forward(self, flow: Flow) -> Flow:
        """Add `media` [I x L, B, V]: the latents of each text's first image, then those of its second."""
        patches_NBH = flow["hidden"][self.first :]
        batch = len(flow["last_image"])
        latents_LBH = self.latents.unsqueeze(1).expand(-1, patches_NBH.shape[1], -1)
        for layer in self.layers:
            latents_LBH = layer(latents_LBH, patches_NBH)
        each = self.norm(latents_LBH).unflatten(1, (batch, -1))
        return {"media": each.permute(2, 0, 1, 3).flatten(0, 1)}


class GatedCross(nn.Module):
    """Attention to the last image, and an MLP, each behind a gate whose tanh is multiplied with it."""

    def __init__(self, vision: VisionConfig, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        made = plain_layer(model, model.hidden_size, model.heads)
        self.latents = vision.latents
        self.cross_norm, self.mlp_norm = Norm(made, megatron), Norm(made, megatron)
        self.cross = CrossAttention(made, megatron, vision.width)
        self.mlp = MLP(made, megatron)
        self.cross_gate, self.mlp_gate = (
            nn.Parameter(torch.zeros(1, dtype=megatron.params_dtype)) for _ in range(2)
        )

    def forward(self, flow: Flow) -> Flow:
        """x + tanh(a) cross(norm x, media), then x + tanh(b) MLP(norm x)."""
        x_SBH, last_BS = flow["hidden"], flow["last_image"]
        mask = sees(last_BS, len(flow["media"]), self.latents)
        seen_SBH = self.cross(self.cross_norm(x_SBH), flow["media"], mask, flow.get("cache"))
        seen_SBH = seen_SBH * (last_BS > 0).t().unsqueeze(2).to(seen_SBH.dtype)
        x_SBH = x_SBH + self.cross_gate.tanh() * seen_SBH
        return {"hidden": x_SBH + self.mlp_gate.tanh() * self.mlp(self.mlp_norm(x_SBH))}


def sees(last_BS: Tensor, media: int, latents: int) -> Tensor:
    """[B, 1, S, media], True where a token sees a latent: one of the last image before it.

    Images count from 1. What stands before any image sees all, for a softmax over nothing is not a number;
    nothing of that is kept.
    """
    image_T = torch.arange(media, device=last_BS.device) // latents + 1
    own = last_BS.unsqueeze(2) == image_T
    return (own | (last_BS == 0).unsqueeze(2)).unsqueeze(1)


def gated_by_images(
    config: PipelineConfig, vocabulary_size: int, dtype: torch.dtype, head: Head
) -> list[Layer]:
    """The tower, the resampler, and a decoder with a gated layer before so many of its blocks."""
    vision, model = config.vision, config.model
    assert vision is not None
    lengths = Lengths(config.data.sequence_length)
    build = Builder(config, lengths, vocabulary_size, dtype)
    arguments = (vision, model, build.megatron)
    cost = flops.block_cost(plain_layer(model, model.hidden_size, model.heads), lengths, in_encoder=False)
    gated = [f"blocks.{layer}" for layer in range(0, model.layers, vision.cross_every)]
    found = [
        *last_but_one(vision, build.megatron, config.objective.pictures),
        Layer(RESAMPLER, Resampler, arguments, gives=("media",), ends=("hidden",)),
    ]
    for layer in build.layers(head):
        if layer.name in gated:
            ends = ("media", "last_image") if layer.name == gated[-1] else ()
            name = f"{GATED}{layer.name.rpartition('.')[2]}"
            found.append(Layer(name, GatedCross, arguments, cost, ends=ends, block=True))
        found.append(layer)
    return found
