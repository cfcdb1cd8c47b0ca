"""Flamingo's resampler and gated layer against the formulas, written out for each query; what gates hide."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.config import PipelineConfig
from pipeline.costs import flops
from pipeline.costs import vision as costs
from pipeline.distributed import world
from pipeline.models.vision.gated import GatedCross, Resampler
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack
from tests.pipeline.conversion.references import close
from tests.pipeline.vision import references as ref


@pytest.fixture(scope="module")
def stack() -> Stack:
    world.start_alone()
    found: Stack = ref.ours_alone("flamingo").eval()
    return found


def part(stack: Stack, name: str) -> Any:
    return dict(stack.layers())[name]


def normed(norm: Any, x: Tensor) -> Tensor:
    middle = x.mean(-1, keepdim=True)
    spread = ((x - middle) ** 2).mean(-1, keepdim=True)
    return (x - middle) / (spread + norm.epsilon).sqrt() * norm.weight + norm.bias


def looks(attention: Any, queries: Tensor, seen: Tensor, heads: int) -> Tensor:
    """[S, H] what each of S queries [S, H] takes of [T, V], head by head; no biases."""
    size = attention.query.weight.shape[0] // heads
    keys, values = (seen @ attention.key_value.weight.T).view(len(seen), heads, 2, size).unbind(2)
    asked = (queries @ attention.query.weight.T).view(len(queries), heads, size)
    taken = []
    for query in asked:
        of_heads = []
        for head in range(heads):
            shares = torch.softmax(keys[:, head] @ query[head] / math.sqrt(size), 0)
            of_heads.append(shares @ values[:, head])
        taken.append(torch.cat(of_heads))
    return torch.stack(taken) @ attention.output.weight.T


def through(mlp: Any, x: Tensor) -> Tensor:
    return F.gelu(x @ mlp.up.weight.T) @ mlp.down.weight.T


@torch.no_grad()
def test_the_resampler_is_its_formula(stack: Stack) -> None:
    """Latents query; keys and values are patches and latents, each with a norm of its own."""
    resampler = part(stack, "resampler")
    assert isinstance(resampler, Resampler)
    patches = torch.randn(17, 4, 64, generator=torch.Generator().manual_seed(1))
    found = resampler({"hidden": patches, "last_image": torch.zeros(2, 5)})["media"]
    assert found.shape == (2 * 3, 2, 64)
    for image in range(4):
        latents = resampler.latents
        for layer in resampler.layers:
            queries = normed(layer.latent_norm, latents)
            seen = torch.cat((normed(layer.patch_norm, patches[1:, image]), queries))
            latents = latents + looks(layer.attention, queries, seen, 4)
            latents = latents + through(layer.mlp, normed(layer.mlp_norm, latents))
        own = found[3 * (image % 2) : 3 * (image % 2) + 3, image // 2]
        close(own, normed(resampler.norm, latents), 1e-5, f"image {image}")


@torch.no_grad()
def test_a_gated_layer_is_its_formula(stack: Stack) -> None:
    """Each token sees the last image before it alone, and before any image it gets exactly nothing."""
    layer = part(stack, "gated.1")
    assert isinstance(layer, GatedCross)
    generator = torch.Generator().manual_seed(2)
    x, media = (torch.randn(*size, generator=generator) for size in ((6, 2, 48), (6, 2, 64)))
    last = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 1, 2]])
    found = layer({"hidden": x, "media": media, "last_image": last})["hidden"]
    for text in range(2):
        for place in range(6):
            own, image = x[place, text], int(last[text, place])
            if image:
                seen = media[3 * (image - 1) : 3 * image, text]
                taken = looks(layer.cross, normed(layer.cross_norm, own)[None], seen, 4)[0]
                own = own + math.tanh(0.6) * taken
            own = own + math.tanh(0.6) * through(layer.mlp, normed(layer.mlp_norm, own))
            close(found[place, text], own, 1e-5, f"text {text}, token {place}")
    layer.mlp_gate.zero_()
    alone = layer({"hidden": x, "media": media, "last_image": last})["hidden"]
    layer.mlp_gate.fill_(0.6)
    assert torch.equal(alone[0], x[0])
    assert torch.equal(alone[1, 0], x[1, 0])
    assert not torch.equal(alone[2, 0], x[2, 0])


@torch.no_grad()
def test_it_begins_as_the_language_model(stack: Stack) -> None:
    """With closed gates logits are the language model's to the bit; open, images change what follows them."""
    given = ref.config("flamingo")
    blind = given.model_copy(update={"objective": given.objective.model_copy(update={"blind": True})})
    words = Stack(model_layers(blind, ref.VOCABULARY, torch.float32)).eval()
    theirs = dict(stack.named())
    for name, parameter in words.named():
        parameter.copy_(theirs[name])
    batch = {key: torch.from_numpy(array) for key, array in ref.batch("flamingo").items()}
    wanted = words({"tokens": batch["tokens"]})["logits"]
    opened = stack(dict(batch))["logits"]
    gates = [parameter for name, parameter in stack.named() if name.endswith("_gate")]
    for gate in gates:
        gate.zero_()
    closed = stack(dict(batch))["logits"]
    for gate in gates:
        gate.fill_(0.6)
    assert torch.equal(closed, wanted)
    assert not torch.allclose(opened, wanted)
    batch["pixels"][:, 1] = 255 - batch["pixels"][:, 1]
    changed = (stack(dict(batch))["logits"] != opened).any(2).t()
    for text, last in enumerate(batch["last_image"]):
        assert not changed[text, last < 2].any()
        assert changed[text, last == 2].all()


def test_parameters_are_counted(stack: Stack) -> None:
    given: PipelineConfig = ref.config("flamingo")
    count = sum(parameter.numel() for _, parameter in stack.named())
    assert costs.parameters(given, flops.padded_vocabulary(ref.VOCABULARY)) == count
