"""From the folders of finished runs to tables that laws are fitted to: a row a run, and a row a validation.

Tokens and FLOPs follow from a run's configuration and its steps, losses from its metrics: so a run that was
killed and went on has the row it would have had.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.run_folder import read_config
from pipeline.costs.flops import embedding_parameters, padded_vocabulary, parameters, training_per_sample
from pipeline.objectives.registry import objective_of
from pipeline.scaling.table import Runs
from pipeline.tracking.metrics import METRICS, read, series

COLUMNS = ("parameters", "non_embedding_parameters", "tokens", "flops", "loss")


class Point(NamedTuple):
    """A moment of a run."""

    tokens: int
    flops: float
    loss: float
    """On validation samples, in nats per token."""


@dataclass(frozen=True)
class Measured:
    """One finished run."""

    name: str
    size: str
    """Layers x width."""
    parameters: int
    non_embedding: int
    steps: int
    batch: int
    """Sequences."""
    learning_rate: float
    seed: int
    curve: Sequence[Point]
    """Every validation whose loss is a number, the last step's at the end."""
    ended: bool
    """Whether the last step has a loss that is a number."""
    seconds: float
    """Of its steps."""
    begun: float
    """When its first step was logged, in seconds since the epoch."""

    @property
    def last(self) -> Point:
        """The run's end."""
        return self.curve[-1]

    def row(self) -> dict[str, str | int | float]:
        """Its row in a table."""
        return {
            "run": self.name,
            "size": self.size,
            "parameters": self.parameters,
            "non_embedding_parameters": self.non_embedding,
            "tokens": self.last.tokens,
            "flops": self.last.flops,
            "loss": self.last.loss,
            "training_steps": self.steps,
            "batch_sequences": self.batch,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
        }


def measure(name: str, run: Path) -> Measured:
    """What a finished run comes to. `InputError` where the folder is no run."""
    config = read_config(run)
    model, optim = config.model, config.train
    rows = padded_vocabulary(Vocabulary(run / TOKENIZER).size)
    lengths = objective_of(config.objective).shape(config.data).lengths
    read_in_sample = lengths.inputs + lengths.targets
    flops = training_per_sample(model, lengths, rows, config.objective)
    count = parameters(model, rows, config.position_table, config.objective)
    lines = read(run / METRICS)
    if not lines:
        raise InputError(f"{run}: no metrics; a run that has ended is expected")
    steps, losses = series(lines, "validation_loss")
    samples = [optim.samples_before(step) for step in steps]
    points = [
        Point(done * read_in_sample, done * flops, loss) for done, loss in zip(samples, losses, strict=True)
    ]
    return Measured(
        name=name,
        size=f"{model.layers}x{model.hidden_size}",
        parameters=count,
        non_embedding=count - embedding_parameters(model, rows, config.position_table),
        steps=optim.steps,
        batch=optim.global_batch,
        learning_rate=optim.learning_rate,
        seed=config.seed,
        curve=points,
        ended=bool(steps) and steps[-1] == optim.steps,
        seconds=step_seconds(lines, optim.steps),
        begun=float(lines[0]["time"]),
    )


def step_seconds(lines: Sequence[Mapping[str, float]], steps: int) -> float:
    """Seconds of all steps by the median one; a resumed run has logged some steps in another process."""
    times = [b["time"] - a["time"] for a, b in pairwise(lines) if b["step"] == a["step"] + 1]
    return float(np.median(times)) * steps if times else float("nan")


def curves_of(runs: Sequence[Measured], path: str) -> Runs:
    """A row a validation."""
    pairs = [(one, point) for one in runs for point in one.curve]
    values = np.array(
        [(one.parameters, one.non_embedding, point.tokens, point.flops, point.loss) for one, point in pairs],
        dtype=np.float64,
    ).reshape(-1, len(COLUMNS))
    columns = dict(zip(COLUMNS, values.T, strict=True))
    return Runs(path, columns, tuple(one.name for one, _ in pairs), "given")


def csv_text(rows: Iterable[Mapping[str, str | int | float]]) -> str:
    """Rows as CSV with the names of the first one's columns."""
    listed = list(rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(listed[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return buffer.getvalue()


def curve_rows(runs: Sequence[Measured]) -> list[dict[str, str | int | float]]:
    """A table of curves, as `bloomery scale --form envelope` takes it."""
    return [
        {
            "run": one.name,
            "parameters": one.parameters,
            "non_embedding_parameters": one.non_embedding,
            "tokens": point.tokens,
            "flops": point.flops,
            "loss": point.loss,
        }
        for one in runs
        for point in one.curve
    ]
