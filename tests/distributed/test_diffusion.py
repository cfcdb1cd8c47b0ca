"""Denoisers compute in every layout what literal formulas and diffusers compute on the same weights.

Outputs within 1e-5 of the largest, losses within 1e-5, gradients within 1e-4 of each parameter's largest.
"""

from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config import TrainConfig
from pipeline.distributed import sharding, world
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel import state
from pipeline.parallel.engine import Engine
from tests.distributed.processes import run_world
from tests.distributed.test_families import whole_gradients
from tests.distributed.test_vision import Part
from tests.pipeline.conversion.references import close
from tests.pipeline.vision import denoisers as ref

NAMES = ("label", "text")


def computed(parallel: dict[str, Any]) -> dict[str, Part]:
    """In each process: one training step of each denoiser at a learning rate of zero."""
    return {name: one(name, parallel) for name in NAMES}


def one(name: str, parallel: dict[str, Any]) -> Part:
    """One denoiser in this process, which has its share of the batch."""
    given = ref.config(name, **parallel)
    here = world.start(given.parallel, given.seed)
    seen: dict[str, Any] = {"said": None}

    class Recorded(type(objective_of(given.objective))):  # type: ignore[misc]
        def __call__(self, outputs: Any, labels: Any) -> Any:
            seen["said"] = outputs["said"].detach().numpy()
            return super().__call__(outputs, labels)

    size = ref.BATCH // here.data_size
    optim = TrainConfig(steps=1, global_batch=ref.BATCH, micro_batch=size, clip_gradient_norm=0.0)
    layers = model_layers(given, 0, torch.float32)
    engine = Engine(layers, Recorded(given.objective), here, given.parallel, optim, torch.float32, given.seed)
    wholes = engine.whole_shapes()
    state.restore_weights(engine, lambda path: ref.weight(path, torch.Size(wholes[path])))
    gradients: dict[str, Any] = {}

    def add(path: str, gradient: Tensor) -> None:
        gradients[path] = gradients.get(path, 0.0) + gradient.numpy() / here.data_size

    for path, parameter in engine.parameters.items():
        parameter.register_hook(partial(add, path))
    rows = slice(here.data_rank * size, (here.data_rank + 1) * size)
    loss, norm = engine.train_step([ref.share(ref.batch(name), rows)], 0.0)
    cuts = {path: sharding.cut_of(p, here.tensor_size) for path, p in engine.parameters.items()}
    return Part(here.tensor_rank, seen["said"], loss, gradients, cuts, norm)


@cache
def reference(name: str) -> tuple[Tensor, float, dict[str, Tensor]]:
    """What formulas say, their loss, and its gradients."""
    weights = {path: one.requires_grad_() for path, one in ref.weights(name).items()}
    said = ref.said(name, weights)
    loss = ref.loss(name, said)
    loss.backward()
    return (
        said.detach(),
        float(loss.detach()),
        {path: one.grad for path, one in weights.items() if one.grad is not None},
    )


@pytest.mark.parametrize(
    "parallel",
    [{}, {"tensor": 2}, {"pipeline": 2}, {"data": 2}],
    ids=lambda sizes: "-".join(f"{key}{int(value)}" for key, value in sizes.items()) or "alone",
)
def test_layout_equals_formulas(parallel: dict[str, Any]) -> None:
    size = int(np.prod(list(parallel.values()), initial=1))
    parts = run_world(size, computed, parallel)
    for name in NAMES:
        check(name, [part[name] for part in parts], "data" in parallel)


def check(name: str, parts: list[Part], shared: bool) -> None:
    """The ranks' parts of one denoiser together are what formulas have."""
    said, loss, gradients = reference(name)
    last = [torch.from_numpy(part.said) for part in parts if part.said is not None]
    close(torch.cat(last) if shared else last[-1], said, 1e-5, f"{name} outputs")
    np.testing.assert_allclose([part.loss for part in parts], loss, rtol=1e-5)
    if shared:
        ours = {path: sum(torch.from_numpy(part.gradients[path]) for part in parts) for path in parts[0].cuts}
    else:
        ours = whole_gradients(parts)  # type: ignore[arg-type]
    assert ours.keys() == gradients.keys()
    for path, wanted in gradients.items():
        close(ours[path], wanted, 1e-4, f"{name} {path}")


def test_classes_are_told_as_diffusers_tells_them() -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DiTTransformer2DModel(
        num_attention_heads=ref.HEADS,
        attention_head_dim=ref.WIDTH // ref.HEADS,
        in_channels=3,
        num_layers=ref.LAYERS,
        sample_size=ref.SIDE,
        patch_size=ref.PATCH,
        num_embeds_ada_norm=ref.CLASSES,
        norm_eps=1e-6,
    ).eval()
    missing, unexpected = theirs.load_state_dict(dict(as_theirs(ref.weights("label"))), strict=False)
    assert not unexpected
    assert all("pos_embed" in name for name in missing)
    for block in theirs.transformer_blocks:
        block.norm1.emb.time_proj.downscale_freq_shift = 0  # as in the authors' code; diffusers has 1 here
    given = {name: torch.as_tensor(array) for name, array in ref.batch("label").items()}
    with torch.no_grad():
        found = theirs(
            given["noised"].permute(0, 3, 1, 2), timestep=given["times"], class_labels=given["classes"]
        ).sample
    close(found.permute(0, 2, 3, 1), reference("label")[0], 1e-5, "diffusers")


def as_theirs(ours: dict[str, Tensor]) -> Any:
    """Weights under diffusers' names: each of its blocks embeds times and classes on its own."""
    start = "denoiser.start."
    patches = ours[f"{start}patches.weight"].view(-1, ref.PATCH, ref.PATCH, 3).permute(0, 3, 1, 2)
    yield from (("pos_embed.proj.weight", patches), ("pos_embed.proj.bias", ours[f"{start}patches.bias"]))
    for kind in ("weight", "bias"):
        yield f"proj_out_1.{kind}", ours[f"denoiser.out.modulation.{kind}"]
        yield f"proj_out_2.{kind}", ours[f"denoiser.out.linear.{kind}"]
        for block in range(ref.LAYERS):
            there, here = f"transformer_blocks.{block}", f"denoiser.blocks.{block}"
            yield f"{there}.norm1.emb.timestep_embedder.linear_1.{kind}", ours[f"{start}time.up.{kind}"]
            yield f"{there}.norm1.emb.timestep_embedder.linear_2.{kind}", ours[f"{start}time.out.{kind}"]
            if kind == "weight":
                yield f"{there}.norm1.emb.class_embedder.embedding_table.weight", ours[f"{start}classes"]
            yield f"{there}.norm1.linear.{kind}", ours[f"{here}.modulation.{kind}"]
            whole = ours[f"{here}.attention.qkv.{kind}"].unflatten(0, (ref.HEADS, 3, -1))
            for number, name in enumerate(("to_q", "to_k", "to_v")):
                yield f"{there}.attn1.{name}.{kind}", whole[:, number].flatten(0, 1)
            yield f"{there}.attn1.to_out.0.{kind}", ours[f"{here}.attention.output.{kind}"]
            yield f"{there}.ff.net.0.proj.{kind}", ours[f"{here}.mlp.up.{kind}"]
            yield f"{there}.ff.net.2.{kind}", ours[f"{here}.mlp.down.{kind}"]
