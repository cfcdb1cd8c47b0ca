"""A run with random weights on disk, that other processes can load."""

from pathlib import Path
from typing import Any

import torch

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.receipt import Receipt, write_receipt
from pipeline.checkpoints.run_folder import checkpoint_folder, write_config
from pipeline.conversion.skeleton import shapes
from pipeline.conversion.step_zero import write_checkpoint
from pipeline.models.initialize import draw
from tests.pipeline import tiny

MODEL = {"layers": 2, "hidden_size": 32, "heads": 2, "positions": "rope"}


def random_run(run: Path, length: int = 64, **model: Any) -> Path:
    """A decoder that knows nothing."""
    run.mkdir(parents=True)
    words = tiny.vocabulary(run / TOKENIZER)
    config = tiny.config(model=MODEL | model, data={"sequence_length": length})
    write_config(run, config)
    found = shapes(config, words.size)
    weights = {path: draw(path, 0, torch.Size(shape), 0.2) for path, shape in found.items()}
    write_checkpoint(checkpoint_folder(run, 0), weights.items())
    write_receipt(run, Receipt(stage=run.name, fingerprint=run.name, config={}))
    return run
