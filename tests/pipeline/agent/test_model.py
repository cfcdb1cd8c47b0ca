"""What an agent adds to a decoder, beside literal formulas, and its parameters as they are counted."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.config import ModelConfig
from pipeline.costs.agent import own_parameters
from pipeline.distributed import world
from pipeline.models.agent import LocalPositions, PatchBlock, agent_layers
from pipeline.models.initialize import initialize
from pipeline.models.linear import megatron_config
from pipeline.objectives.registry import objective_of
from pipeline.parallel.stack import Stack
from pipeline.stages.pretrain_agent import parameters
from tests.pipeline.agent.small import config, interface


@pytest.fixture(autouse=True)
def alone() -> None:
    world.start_alone(0)


def drawn(module: torch.nn.Module) -> dict[str, Tensor]:
    """Weights that are all drawn, biases and norms too."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return {name: one.detach() for name, one in module.named_parameters()}


def test_a_patch_goes_through_a_residual_block_of_the_second_form() -> None:
    ids = interface(image_size=16, patch_size=8, patch_channels=4)
    block = PatchBlock(ids, ModelConfig(layers=1, hidden_size=6, heads=1), megatron_config(torch.float32))
    w = drawn(block)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    rows, columns = torch.tensor([[5, 5, 90, 90]] * 2), torch.tensor([[0, 127, 1, 64]] * 2)
    found = block({"pixels": torch.from_numpy(pixels), "patch_rows": rows, "patch_columns": columns})
    assert found["image_states"].shape == (4, 2, 6)
    for image in range(2):
        for patch in range(4):
            top, left = patch // 2 * 8, patch % 2 * 8
            cut = torch.from_numpy(pixels[image, top : top + 8, left : left + 8].copy()).permute(2, 0, 1)
            colours = (cut.float() / 255 * 2 - 1) / math.sqrt(8)
            x = F.conv2d(colours[None], w["root.weight"], w["root.bias"], padding=1)
            inner = x
            for number in range(2):
                grouped = inner.reshape(1, 2, -1)
                mean, variance = grouped.mean(2, keepdim=True), grouped.var(2, unbiased=False, keepdim=True)
                normed = ((grouped - mean) / (variance + 1e-5).sqrt()).reshape(inner.shape)
                scale, shift = w[f"norms.{number}.weight"], w[f"norms.{number}.bias"]
                y = normed * scale[None, :, None, None] + shift[None, :, None, None]
                y = y * 0.5 * (1 + torch.erf(y / math.sqrt(2)))
                name = f"convolutions.{number}"
                inner = F.conv2d(y, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)
            wanted = w["out.weight"] @ (x + inner).flatten() + w["out.bias"]
            wanted = wanted + w["rows"][rows[image, patch]] + w["columns"][columns[image, patch]]
            torch.testing.assert_close(found["image_states"][patch, image], wanted, rtol=1e-4, atol=1e-4)


def test_places_in_a_step_are_added_where_there_is_one() -> None:
    layer = LocalPositions(
        interface(), ModelConfig(layers=1, hidden_size=4, heads=1), megatron_config(torch.float32)
    )
    weight = drawn(layer)["weight"]
    assert weight.shape == (5, 4)
    hidden = torch.randn(3, 2, 4)
    places = torch.tensor([[0, 4, -1], [-1, -1, 2]])
    found = layer({"hidden": hidden, "local_positions": places})["hidden"]
    wanted = hidden.clone()
    wanted[0, 0] += weight[0]
    wanted[1, 0] += weight[4]
    wanted[2, 1] += weight[2]
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("size", [None, 32])
def test_parameters_are_as_many_as_are_counted(size: int | None) -> None:
    given, ids = config(), interface(image_size=size, patch_channels=6)
    stack = Stack(agent_layers(given, ids, torch.float32, objective_of(given.objective).head))
    assert sum(one.numel() for one in stack.parameters()) == parameters(given, ids)
    assert own_parameters(ids, given.model) < parameters(given, ids)


def test_what_is_not_learned_of_a_step_is_read_all_the_same() -> None:
    """A picture, an observation and a place change what is said behind them, and nothing before them."""
    given, ids = config(), interface(image_size=32, patch_channels=4)
    stack = Stack(agent_layers(given, ids, torch.float32, objective_of(given.objective).head)).eval()
    initialize(stack.named(), 0, 0, 1)
    tokens = torch.randint(0, ids.size, (1, 12), generator=torch.Generator().manual_seed(1))
    batch = {
        "tokens": tokens,
        "local_positions": torch.full((1, 12), -1),
        "pixels": torch.zeros(1, 32, 32, 3, dtype=torch.uint8),
        "image_places": torch.arange(4)[None] + 3,
        "patch_rows": torch.zeros(1, 4, dtype=torch.long),
        "patch_columns": torch.zeros(1, 4, dtype=torch.long),
    }

    def said(**changed: Tensor) -> Tensor:
        with torch.inference_mode():
            return stack({**batch, **changed})["logits"][:, 0, : ids.size]

    before = said()
    places = batch["local_positions"].clone()
    places[0, 8] = 2
    for changed, first in (
        ({"pixels": batch["pixels"] + 200}, 3),
        ({"local_positions": places}, 8),
        ({"patch_rows": batch["patch_rows"] + 7}, 3),
    ):
        apart = (said(**changed) - before).abs().amax(1)
        assert (apart[:first] < 1e-6).all()
        assert (apart[first:] > 1e-6).all()
    other = tokens.clone()
    other[0, 3:7] = 5  # what stands at the places of patches is replaced
    torch.testing.assert_close(said(tokens=other), before)
