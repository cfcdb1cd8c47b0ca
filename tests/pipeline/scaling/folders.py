"""Folders of finished runs whose losses follow a known law: nothing is trained."""

import shutil
from pathlib import Path

import numpy as np

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.receipt import Receipt, write_receipt
from pipeline.checkpoints.run_folder import write_config
from pipeline.config import PipelineConfig
from pipeline.costs.flops import padded_vocabulary, parameters
from pipeline.scaling.grid import Base, grid, stage_keys
from pipeline.scaling.hoffmann import Law
from pipeline.tracking.metrics import METRICS, write_line

LAW = Law(20.0, 60.0, 1.8, 0.35, 0.37)
"""Of models of some 10^5 parameters."""


def finished_run(
    folder: Path, config: PipelineConfig, tokenizer: Path, losses: dict[int, float], begun: float = 100.0
) -> Path:
    """A run with these validation losses by step; its first step is logged at `begun`."""
    folder.mkdir(parents=True)
    write_config(folder, config)
    shutil.copyfile(tokenizer, folder / TOKENIZER)
    for step, loss in losses.items():
        value = loss if np.isfinite(loss) else None
        write_line(folder / METRICS, {"step": step, "time": begun + step, "validation_loss": value})
    receipt = Receipt(
        stage=folder.name,
        kind="cell",
        fingerprint=folder.name,
        config={},
        inputs={},
        counts={"steps": config.train.steps},
        seconds=1.0,
        versions={},
    )
    write_receipt(folder, receipt)
    return folder


def grid_of_runs(work: Path, base: Base, tokenizer: Path, noise: float = 0.002, law: Law = LAW) -> list[str]:
    """Every training of a grid as such a folder; returns their names."""
    random = np.random.default_rng(0)
    for cell in grid(base):
        keys = stage_keys(cell, base)
        model = base.model.model_dump(exclude={"preset"}) | keys.pop("model")
        seed = keys.pop("seed")
        config = PipelineConfig(
            name="study", seed=seed, model=model, data=base.data, objective=base.objective, train=keys
        )
        count = parameters(config.model, padded_vocabulary(base.vocabulary), config.position_table)
        every = config.train.validate_every
        steps = sorted({*range(every, cell.steps + 1, every), cell.steps})
        factor = np.exp(noise * random.standard_normal())
        lag = {step: 1 + 0.3 * (1 - step / cell.steps) for step in steps}  # a rate that has not come down
        losses = {
            step: float(
                factor * lag[step] * law.loss(np.array(count), np.array(cell.tokens * step / cell.steps))
            )
            for step in steps
        }
        finished_run(work / cell.name, config, tokenizer, losses)
    return [cell.name for cell in grid(base)]
