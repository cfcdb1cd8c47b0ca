"""A training of six steps for launchers to start, and what one process computes in it."""

from pathlib import Path

import numpy as np

from launch.recipe import load
from pipeline.tracking import metrics
from tests.distributed.processes import run_world
from tests.pipeline.stages_of import run_pretraining

RECIPE = """
name: small
model: {layers: 2, hidden_size: 32, heads: 2}
data: {sequence_length: 32}
train:
  steps: 6
  global_batch: 8
  micro_batch: 2
  learning_rate: 1.0e-2
  warmup_steps: 2
  clip_gradient_norm: 0.5
  validate_every: 3
  validation_samples: 16
  checkpoint_every: 6
tracking: {enabled: false, system_every: 0}
"""
VARIABLES = {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def recipe(folder: Path, dataset: Path) -> Path:
    """A recipe, with work folders `alone` and `work` that are ready to be trained in."""
    for name in ("alone", "work"):
        (folder / name).mkdir()
        (folder / name / "dataset").symlink_to(dataset)
    path = folder / "small.yaml"
    path.write_text(RECIPE)
    return path


def train_alone(folder: Path) -> None:
    """What one process computes, without any launcher."""
    run_world(1, run_pretraining, load(folder / "small.yaml").pipeline(), folder / "alone")


def assert_same(folder: Path) -> None:
    """The run in `work` has the losses of the one in `alone`, as near as layouts are to one another."""
    columns = ("loss", "gradient_norm")
    lines = {name: metrics.read(folder / name / "pretrain" / metrics.METRICS) for name in ("alone", "work")}
    assert [line["step"] for line in lines["work"]] == [1, 2, 3, 4, 5, 6]
    for column, tolerance in zip(columns, (1e-5, 1e-4), strict=True):  # as in tests/distributed/toy.py
        alone, launched = ([line[column] for line in lines[name]] for name in ("alone", "work"))
        np.testing.assert_allclose(launched, alone, rtol=tolerance)
    assert lines["work"][-1]["loss"] < lines["work"][0]["loss"] - 1, "it learns"
    assert (folder / "work" / "pretrain" / "receipt.json").is_file()
