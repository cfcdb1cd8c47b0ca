"""A companion from the checkpoint of its own run, whatever layout wrote it."""

from pathlib import Path

import torch

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints import saving
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import read_config
from pipeline.config import ParallelConfig
from pipeline.distributed.gathering import together
from pipeline.distributed.world import World
from pipeline.models.build import Head
from pipeline.models.layer import Layer
from pipeline.objectives.model import model_layers
from pipeline.parallel.companion import Companion


def open_companion(
    checkpoint: Path,
    run: Path,
    world: World,
    parallel: ParallelConfig,
    dtype: torch.dtype,
    head: Head | None = None,
    encoder: bool = False,
) -> Companion:
    """The model of a run's checkpoint in the layout of a training; all ranks call this together.

    It has the head of its objective, or another `head`; with `encoder` the layers that read a text alone,
    whose output is `memory`.

    `InputError` where the checkpoint is damaged or does not fit its run's configuration.
    """
    found = Checkpoint(checkpoint)
    saving.check_files(found, world)
    config = read_config(run).speaker.model_copy(update={"parallel": parallel})
    layers = model_layers(config, Vocabulary(run / TOKENIZER).size, dtype, head)
    companion = Companion(up_to_memory(layers) if encoder else layers, world, parallel)
    together(lambda: found.check_fits(companion.whole_shapes()))
    companion.restore(found.merged)
    return companion


def up_to_memory(layers: list[Layer]) -> list[Layer]:
    """The layers of an encoder in front of a decoder."""
    last = next(index for index, layer in enumerate(layers) if "memory" in layer.gives)
    return layers[: last + 1]
