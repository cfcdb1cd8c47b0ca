"""An agent as a list of layers: a decoder of everything that has an id, with pictures in its sequence.

(Gato; Reed et al. 2022, sections 2.1 and 2.2.) Patches are embedded by a residual block and never become ids;
to them their rows and columns in the picture are added, and to all that is seen or done its place in a step.
"""

import math

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from torch import Tensor, nn

from pipeline.config import ModelConfig, PipelineConfig
from pipeline.config.agent import INTERVALS, Interface
from pipeline.config.vision import CHANNELS
from pipeline.costs.lengths import Lengths
from pipeline.models.build import Builder, Head
from pipeline.models.layer import Flow, Layer
from pipeline.models.linear import WholeLinear, mark_partial, own_rows
from pipeline.models.vision.in_text import Placed
from pipeline.models.vision.pixels import patched

LOCAL = "local_positions"
"""Name of a layer that agents alone have, and of what it reads."""
GROUPS = 32
"""Of the norms in a patch's block, or half its channels where these are fewer."""


class Convolution(nn.Module):
    """Of 3 x 3 pixels, as large as its input; whole on every rank."""

    def __init__(self, megatron: ModelParallelConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        shape = (outputs, inputs, 3, 3)
        self.weight = nn.Parameter(torch.empty(shape, dtype=megatron.params_dtype))
        self.bias = nn.Parameter(torch.zeros(outputs, dtype=megatron.params_dtype))
        self.weight.initial_std = math.sqrt(1 / (9 * inputs))
        for parameter in self.parameters():
            mark_partial(parameter, megatron)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, Y, X] to [n, outputs, Y, X]."""
        return F.conv2d(x, self.weight, self.bias, padding=1)


class GroupNorm(nn.Module):
    """Over groups of channels (Wu and He 2018)."""

    def __init__(self, megatron: ModelParallelConfig, channels: int) -> None:
        super().__init__()
        self.groups = math.gcd(GROUPS, channels // 2)
        self.weight = nn.Parameter(torch.ones(channels, dtype=megatron.params_dtype))
        self.bias = nn.Parameter(torch.zeros(channels, dtype=megatron.params_dtype))
        for parameter in self.parameters():
            mark_partial(parameter, megatron)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each group of each patch."""
        return F.group_norm(x, self.groups, self.weight, self.bias)


class PatchBlock(nn.Module):
    """Pictures to what stands for their patches: a residual block of the second form with group norms and
    GELU (Reed et al. 2022, section 2.2), then one linear map of a patch.

    Colours are in [-1, 1] over the square root of the patch's side.
    """

    def __init__(self, interface: Interface, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        width, size, channels = (
            model.word_size or model.hidden_size,
            interface.patch_size,
            interface.patch_channels,
        )
        self.size = size
        self.root = Convolution(megatron, CHANNELS, channels)
        self.norms = nn.ModuleList(GroupNorm(megatron, channels) for _ in range(2))
        self.convolutions = nn.ModuleList(Convolution(megatron, channels, channels) for _ in range(2))
        numbers = channels * size * size
        self.out = WholeLinear(megatron, numbers, width, bias=True, std=math.sqrt(1 / numbers))
        for name in ("rows", "columns"):
            table = nn.Parameter(torch.empty(INTERVALS, width, dtype=megatron.params_dtype))
            table.initial_std = model.initial_std
            mark_partial(table, megatron)
            self.register_parameter(name, table)

    def forward(self, flow: Flow) -> Flow:
        """Bytes `pixels` [B, Y, X, 3] to `image_states` [N, B, H], whole whatever the layout."""
        colours = flow["pixels"].to(self.root.weight.dtype) / 127.5 - 1
        patches_BNP = patched(colours, self.size) / math.sqrt(self.size)
        batch, count, _ = patches_BNP.shape
        x = self.root(patches_BNP.reshape(batch * count, self.size, self.size, CHANNELS).permute(0, 3, 1, 2))
        inner = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            inner = convolution(F.gelu(norm(inner)))
        states_BNH = self.out((x + inner).reshape(batch, count, -1))
        states_BNH = states_BNH + F.embedding(flow["patch_rows"].long(), self.rows)
        states_BNH = states_BNH + F.embedding(flow["patch_columns"].long(), self.columns)
        return {"image_states": states_BNH.transpose(0, 1)}


class LocalPositions(nn.Module):
    """A row for each thing that a step shows and one for all actions, added where there is a step."""

    def __init__(self, interface: Interface, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.megatron = megatron
        shape = (interface.places, model.word_size or model.hidden_size)
        self.weight = nn.Parameter(torch.empty(shape, dtype=megatron.params_dtype))
        self.weight.initial_std = model.initial_std
        mark_partial(self.weight, megatron)

    def forward(self, flow: Flow) -> Flow:
        """Add the rows of `local_positions` [B, S]; nothing where these are below 0."""
        places_SB = own_rows(flow[LOCAL], 1, self.megatron).t().long()
        added_SBH = F.embedding(places_SB.clamp(min=0), self.weight)
        return {"hidden": flow["hidden"] + added_SBH * (places_SB >= 0).unsqueeze(2)}


def agent_layers(config: PipelineConfig, interface: Interface, dtype: torch.dtype, head: Head) -> list[Layer]:
    """Every layer of an agent, pictures first where it sees any."""
    build = Builder(config, Lengths(config.data.sequence_length), interface.size, dtype)
    words, *behind = build.layers(head)
    about = (interface, config.model, build.megatron)
    local = Layer(LOCAL, LocalPositions, about, ends=(LOCAL,))
    if interface.image_size is None:
        return [words, local, *behind]
    read = ("pixels", "patch_rows", "patch_columns")
    return [
        Layer("patches", PatchBlock, about, gives=("image_states",), ends=read),
        words,
        Layer("placed", Placed, (build.megatron,), ends=("image_states", "image_places")),
        local,
        *behind,
    ]
