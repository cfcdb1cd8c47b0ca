"""Run folders of every family with random weights."""

from pathlib import Path

import torch

from data_prep.contract.dataset import TOKENIZER
from pipeline.checkpoints.run_folder import checkpoint_folder, write_config
from pipeline.conversion.skeleton import shapes
from pipeline.conversion.step_zero import write_checkpoint
from tests.pipeline import tiny
from tests.pipeline.conversion import references as ref


def run_folder(run: Path, name: str) -> Path:
    """The run of a reference model, with a checkpoint."""
    run.mkdir()
    vocabulary = tiny.vocabulary(run / TOKENIZER)
    given = ref.config(name)
    write_config(run, given)
    found = shapes(given, vocabulary.size)
    weights = ((one, ref.weight(one, torch.Size(shape))) for one, shape in found.items())
    write_checkpoint(checkpoint_folder(run, 0), weights)
    return run
