"""A denoiser and the text encoder beside it, in one process, from the folders of their runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.companions import up_to_memory
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import checkpoint_folder, read_config, saved_steps
from pipeline.config import PipelineConfig, VisionConfig
from pipeline.config.diffusion import DiffusionConfig
from pipeline.distributed import world
from pipeline.generation.load import find_checkpoint
from pipeline.models.layer import Flow, Layer
from pipeline.objectives.model import model_layers
from pipeline.objectives.vision.diffusion import encoder_inputs
from pipeline.parallel.stack import Stack

AT_ONCE = 64
"""Texts that are encoded together."""


def built(layers: list[Layer], checkpoint: Checkpoint, device: torch.device, average: bool = False) -> Stack:
    """Layers with a checkpoint's weights, or with their moving average."""
    if damage := checkpoint.damage():
        raise InputError(f"{checkpoint.folder}: {damage}; use an earlier checkpoint")
    module = Stack(layers).to(device).eval()
    named = dict(module.named())
    checkpoint.check_fits({name: list(parameter.shape) for name, parameter in named.items()})
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(checkpoint.merged(name, average))
    return module


@dataclass(frozen=True)
class Denoiser:
    """A run of pretrain_diffusion at one of its checkpoints; of its moving average where it keeps one.

    Float32 on a CPU, bfloat16 on a GPU.
    """

    checkpoint: Checkpoint
    run: Path
    config: PipelineConfig
    device: torch.device

    @property
    def diffusion(self) -> DiffusionConfig:
        """How it was noised and what it is told."""
        return self.config.objective.diffusion

    @property
    def vision(self) -> VisionConfig:
        """Its sizes."""
        assert self.config.vision is not None
        return self.config.vision

    @cached_property
    def module(self) -> Stack:
        """The layers."""
        layers = model_layers(self.config, 0, dtype_on(self.device))
        return built(layers, self.checkpoint, self.device, self.config.train.average > 0)

    @torch.inference_mode()
    def say(self, x: Tensor, time: int, told: Flow) -> Tensor:
        """What it says of noised pictures [B, Y, X, 3], float32; `told` is what else the layers read."""
        times = torch.full((len(x),), time, device=self.device)
        found: Tensor = self.module({"noised": x, "times": times, **told})["said"].float()
        return found


@dataclass(frozen=True)
class TextEncoder:
    """The encoder of a run that has a decoder behind it."""

    module: Stack
    vocabulary: Vocabulary
    device: torch.device

    @torch.inference_mode()
    def encoded(self, texts: Sequence[str], length: int) -> Flow:
        """`text_states` [S, B, D] and `encoder_segments` [B, S] of texts, cut at `length` tokens."""
        batch = encoder_inputs(list(texts), self.vocabulary, length)
        inputs = {name: torch.from_numpy(array).to(self.device) for name, array in batch.items()}
        states = []
        for start in range(0, len(texts), AT_ONCE):
            part = {name: tensor[start : start + AT_ONCE] for name, tensor in inputs.items()}
            states.append(self.module(part)["memory"])
        return {"text_states": torch.cat(states, 1), "encoder_segments": inputs["encoder_segments"]}


def dtype_on(device: torch.device) -> torch.dtype:
    """Type of weights and activations."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def open_denoiser(path: Path, step: int | None = None) -> Denoiser:
    """The newest checkpoint of a run, or that of a step. `InputError` where there is none or no denoiser."""
    checkpoint, run = find_checkpoint(path)
    if step is not None:
        if step not in saved_steps(run):
            there = ", ".join(map(str, saved_steps(run)))
            raise InputError(
                f"{run}: no checkpoint of step {step}; there are {there}; train.keep_every keeps more"
            )
        checkpoint = Checkpoint(checkpoint_folder(run, step))
    config = read_config(run)
    if config.objective.kind != "diffusion":
        raise InputError(
            f"{run}: it has learned {config.objective.kind}; pretrain_diffusion makes a denoiser"
        )
    return Denoiser(checkpoint, run, config, world.start_alone(config.seed).device)


def open_text_encoder(path: Path, device: torch.device) -> TextEncoder:
    """The encoder of a run's newest checkpoint."""
    checkpoint, run = find_checkpoint(path)
    config, vocabulary = read_config(run), Vocabulary(run / TOKENIZER)
    if config.model.architecture != "encoder_decoder":
        raise InputError(f"{run}: a {config.model.architecture}; an encoder_decoder's encoder reads captions")
    layers = up_to_memory(model_layers(config, vocabulary.size, dtype_on(device)))
    return TextEncoder(built(layers, checkpoint, device), vocabulary, device)
