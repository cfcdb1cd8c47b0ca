"""An image fused into a text against the formula written out, and torch's attention of one head."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.config import ModelConfig, ObjectiveConfig, PipelineConfig, VisionConfig
from pipeline.costs import flops
from pipeline.costs import vision as costs
from pipeline.distributed import world
from pipeline.models.linear import megatron_config
from pipeline.models.vision.fused import GatedFusion, PatchProjection
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack
from tests.pipeline.conversion.references import close

WIDTH, SEEN, PIECES = 12, 20, 40


def config(**objective: Any) -> PipelineConfig:
    """A small model of two stacks with a tower."""
    return PipelineConfig(
        name="fused",
        vision=VisionConfig(image_size=16, patch_size=4, layers=2, hidden_size=SEEN, heads=2),
        model=ModelConfig(architecture="encoder_decoder", layers=1, hidden_size=WIDTH, heads=2),
        objective=ObjectiveConfig(kind="image_rationales", **objective),
        data={"sequence_length": 8},
    )


def filled(module: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return module


@pytest.fixture(scope="module")
def parts() -> tuple[PatchProjection, GatedFusion]:
    world.start_alone()
    given = config()
    assert given.vision is not None
    megatron = megatron_config(torch.float32)
    projection = filled(PatchProjection(given.vision, given.model, megatron), 1)
    fusion = filled(GatedFusion(given.model, megatron), 2)
    return projection, fusion  # type: ignore[return-value]


def literal(projection: PatchProjection, fusion: GatedFusion, text_SBH: Tensor, tower_NBV: Tensor) -> Tensor:
    """The formula of each token, with attention by torch's module."""
    attention = nn.MultiheadAttention(WIDTH, 1)
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat((fusion.query.weight, fusion.key_value.weight)))
        attention.in_proj_bias.copy_(torch.cat((fusion.query.bias, fusion.key_value.bias)))
        attention.out_proj.weight.copy_(fusion.output.weight)
        attention.out_proj.bias.copy_(fusion.output.bias)
    image_NBH = tower_NBV[1:] @ projection.linear.weight.T + projection.linear.bias  # no class token
    taken_SBH = attention(text_SBH, image_NBH, image_NBH)[0]
    own, other = fusion.gate.weight.split(WIDTH, 1)
    gate = 1 / (1 + torch.exp(-(text_SBH @ own.T + taken_SBH @ other.T + fusion.gate.bias)))
    return (1 - gate) * text_SBH + gate * taken_SBH


def test_fusion_is_its_formula_forward_and_backward(parts: tuple[PatchProjection, GatedFusion]) -> None:
    """Outputs within 1e-5 of the largest, gradients within 1e-4."""
    projection, fusion = parts
    generator = torch.Generator().manual_seed(3)
    text, tower = (torch.randn(*size, generator=generator) for size in ((6, 2, WIDTH), (17, 2, SEEN)))
    weights = torch.randn(6, 2, WIDTH, generator=generator)
    gradients = []
    learned = [projection.linear.weight, projection.linear.bias, fusion.gate.weight, fusion.gate.bias]
    for ours in (True, False):
        given, seen = text.clone().requires_grad_(), tower.clone().requires_grad_()
        if ours:
            states = projection({"hidden": seen})["image_states"]
            found = fusion({"memory": given, "image_states": states})["memory"]
        else:
            found = literal(projection, fusion, given, seen)
        gradients.append([found, *torch.autograd.grad((found * weights).sum(), [given, seen, *learned])])
    (found, *own), (wanted, *others) = gradients
    close(found.detach(), wanted.detach(), 1e-5, "fused")
    for name, one, other in zip(("text", "tower", *map(str, range(4))), own, others, strict=True):
        close(one, other, 1e-4, name)
    assert not own[1][0].any(), "the class token is not looked at"


@torch.no_grad()
def test_what_is_said_depends_on_the_picture_unless_it_is_withheld() -> None:
    world.start_alone()
    rng = np.random.default_rng(0)
    texts = {name: torch.from_numpy(rng.integers(2, PIECES, (2, 8))) for name in ("encoder_tokens", "tokens")}
    pixels = torch.from_numpy(rng.integers(0, 256, (2, 16, 16, 3), np.uint8))
    seeing = filled(Stack(model_layers(config(), PIECES, torch.float32)), 5)
    wanted = seeing({**texts, "pixels": pixels})["logits"]
    assert not torch.allclose(seeing({**texts, "pixels": 255 - pixels})["logits"], wanted)
    behind = seeing.encode({"encoder_tokens": texts["encoder_tokens"], "pixels": pixels})
    assert {*behind} == {"memory"}, "the image is in the memory, which is all that a decoder is given"
    assert torch.equal(seeing.decode({**behind, "tokens": texts["tokens"]})["logits"], wanted)
    blind = Stack(model_layers(config(blind=True), PIECES, torch.float32))
    theirs = dict(seeing.named())
    for name, parameter in blind.named():
        parameter.copy_(theirs[name])
    assert {name.split(".")[0] for name in {*theirs} - {*dict(blind.named())}} == {
        *("image", "projector", "fusion")
    }
    for name, parameter in seeing.named():
        if name.startswith("fusion.gate"):
            parameter.fill_(-1e9 if name.endswith("bias") else 0)  # a gate that is shut
    shut = seeing({**texts, "pixels": pixels})["logits"]
    assert torch.equal(shut, blind(dict(texts))["logits"])


@pytest.mark.parametrize("blind", [False, True])
def test_parameters_are_counted(blind: bool) -> None:
    world.start_alone()
    given = config(blind=blind)
    stack = Stack(model_layers(given, PIECES, torch.float32))
    count = sum(parameter.numel() for _, parameter in stack.named())
    assert costs.parameters(given, flops.padded_vocabulary(PIECES)) == count
