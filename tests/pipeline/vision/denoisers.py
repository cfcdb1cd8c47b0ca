"""Denoisers as literal formulas on the weights of ours, and the batches that they are compared on."""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.config import ObjectiveConfig, PipelineConfig, VisionConfig
from pipeline.config.diffusion import DiffusionConfig
from pipeline.conversion.skeleton import shapes
from pipeline.models.initialize import draw
from pipeline.models.vision.patches import plane_sines
from pipeline.objectives.batches import Batch

BATCH, SIDE, PATCH, WIDTH, HEADS, LAYERS, CLASSES, TEXT, LENGTH = 4, 8, 2, 32, 4, 2, 7, 24, 5
TOLD: dict[str, dict[str, Any]] = {
    "label": {"condition": "label", "classes": CLASSES},
    "text": {"condition": "text", "text_size": TEXT, "low_size": 4},
}


def config(name: str, **parallel: Any) -> PipelineConfig:
    """A small denoiser that is told a class, or a caption and a smaller picture."""
    return PipelineConfig(
        name=name,
        vision=VisionConfig(
            image_size=SIDE,
            patch_size=PATCH,
            layers=LAYERS,
            hidden_size=WIDTH,
            heads=HEADS,
            class_token=False,
            pooling="mean",
            positions="sinusoidal",
            activation="gelu_tanh",
        ),
        objective=ObjectiveConfig(kind="diffusion", diffusion=DiffusionConfig(**TOLD[name])),
        data={"sequence_length": 8},
        train={"micro_batch": BATCH, "global_batch": BATCH},
        parallel=parallel,
    )


def batch(name: str) -> Batch:
    """Random pictures, with padding in captions."""
    rng = np.random.default_rng(5)

    def picture() -> Any:
        return rng.normal(size=(BATCH, SIDE, SIDE, 3)).astype(np.float32)

    found: Batch = {
        "noised": picture(),
        "times": np.array([0, 17, 500, 999]),
        "wanted": picture(),
        "weights": np.array([1, 1, 0, 1], np.float32),
    }
    if name == "label":
        return found | {"classes": np.array([0, 6, 7, 3])}
    states = torch.from_numpy(rng.normal(size=(LENGTH, BATCH, TEXT)).astype(np.float32))
    lengths = np.array([5, 1, 3, 4])
    return found | {
        "low": picture(),
        "low_times": np.array([3, 0, 199, 20]),
        "text_states": states,  # type: ignore[dict-item]
        "encoder_segments": (np.arange(LENGTH) < lengths[:, None]).astype(np.int32),
    }


def share(given: Batch, rows: slice) -> Batch:
    """Some rows of a batch; the states of texts have their positions first."""
    return {key: a[:, rows] if key == "text_states" else a[rows] for key, a in given.items()}


def weight(path: str, shape: torch.Size) -> Tensor:
    """The whole weight of this path, the same in every layout; what starts at zero is drawn too."""
    return draw(path, 0, shape, 0.1)


def weights(name: str) -> dict[str, Tensor]:
    """Every whole weight of a denoiser by its path."""
    return {path: weight(path, torch.Size(shape)) for path, shape in shapes(config(name), 0).items()}


def said(name: str, given: dict[str, Tensor]) -> Tensor:
    """What a denoiser says of the batch [B, Y, X, 3], one picture after the other."""
    arrays = {key: torch.as_tensor(value) for key, value in batch(name).items()}
    return torch.stack([_of_picture(given, arrays, number) for number in range(BATCH)])


def loss(name: str, found: Tensor) -> Tensor:
    """The weighted mean of square errors."""
    arrays = {key: torch.as_tensor(value) for key, value in batch(name).items() if key != "text_states"}
    errors = ((found - arrays["wanted"]) ** 2).mean((1, 2, 3))
    return (errors * arrays["weights"]).sum() / arrays["weights"].sum()


def _linear(given: dict[str, Tensor], path: str, x: Tensor) -> Tensor:
    return x @ given[f"{path}.weight"].t() + given[f"{path}.bias"]


def _time(given: dict[str, Tensor], path: str, time: Tensor) -> Tensor:
    rates = torch.tensor([math.exp(-math.log(10_000) * i / 128) for i in range(128)])
    waves = torch.cat(((time * rates).cos(), (time * rates).sin()))
    return _linear(given, f"{path}.out", F.silu(_linear(given, f"{path}.up", waves)))


def _patches(picture: Tensor) -> Tensor:
    steps = range(0, SIDE, PATCH)
    return torch.stack([picture[y : y + PATCH, x : x + PATCH].flatten() for y in steps for x in steps])


def _normed(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()


def _attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """[S, heads, D] queries, [T, heads, D] keys and values."""
    out = []
    for head in range(HEADS):
        scores = q[:, head] @ k[:, head].t() / math.sqrt(WIDTH // HEADS)
        out.append(scores.softmax(1) @ v[:, head])
    return torch.cat(out, 1)


def _of_picture(given: dict[str, Tensor], arrays: dict[str, Tensor], number: int) -> Tensor:
    start, size = "denoiser.start", WIDTH // HEADS
    seen = _patches(arrays["noised"][number])
    told = _time(given, f"{start}.time", arrays["times"][number])
    memory = None
    if "low" in arrays:
        seen = torch.cat((seen, _patches(arrays["low"][number])), 1)
        told = told + _time(given, f"{start}.low_time", arrays["low_times"][number])
    if "classes" in arrays:
        told = told + given[f"{start}.classes"][arrays["classes"][number]]
    if "text_states" in arrays:
        length = int(arrays["encoder_segments"][number].sum())
        states = arrays["text_states"][:length, number]
        mean = _layer_norm(given, f"{start}.pooled_norm", states.mean(0))
        told = told + _linear(given, f"{start}.pooled", mean)
        memory = _linear(given, f"{start}.text", states)
    x = _linear(given, f"{start}.patches", seen) + plane_sines(SIDE // PATCH, WIDTH, False)
    for block in range(LAYERS):
        path = f"denoiser.blocks.{block}"
        parts = _linear(given, f"{path}.modulation", F.silu(told)).chunk(6)
        inner = _normed(x) * (1 + parts[1]) + parts[0]
        q, k, v = _linear(given, f"{path}.attention.qkv", inner).unflatten(1, (HEADS, 3, size)).unbind(2)
        x = x + parts[2] * _linear(given, f"{path}.attention.output", _attended(q, k, v))
        if memory is not None:
            inner = _layer_norm(given, f"{path}.cross_norm", x)
            q = _linear(given, f"{path}.cross.query", inner).unflatten(1, (HEADS, size))
            k, v = _linear(given, f"{path}.cross.key_value", memory).unflatten(1, (HEADS, 2, size)).unbind(2)
            x = x + _linear(given, f"{path}.cross.output", _attended(q, k, v))
        inner = F.gelu(
            _linear(given, f"{path}.mlp.up", _normed(x) * (1 + parts[4]) + parts[3]), approximate="tanh"
        )
        x = x + parts[5] * _linear(given, f"{path}.mlp.down", inner)
    shift, scale = _linear(given, "denoiser.out.modulation", F.silu(told)).chunk(2)
    out = _linear(given, "denoiser.out.linear", _normed(x) * (1 + scale) + shift)
    cut = out.unflatten(1, (PATCH, PATCH, 3)).unflatten(0, (SIDE // PATCH, -1))
    return torch.cat([torch.cat([*row], 1) for row in cut])


def _layer_norm(given: dict[str, Tensor], path: str, x: Tensor) -> Tensor:
    return _normed(x) * given[f"{path}.weight"] + given[f"{path}.bias"]
