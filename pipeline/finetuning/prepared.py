"""The rows and features of a fine-tuning stage, read and checked once in a process."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.finetuning.reading import read_rows
from pipeline.finetuning.splits import hold_out
from pipeline.tasks.registry import class_of, task_of
from pipeline.tasks.rows import Row
from pipeline.tasks.settings import TaskSettings
from pipeline.tasks.task import Feature, Task

Files = Sequence[tuple[str, Path]]
"""Files with the names under which a recipe has them."""


@dataclass(frozen=True)
class Part:
    """Rows of one split and what the model reads of them."""

    rows: list[Row]
    features: list[Feature]

    @property
    def cut(self) -> int:
        """How many rows lose the end of a text."""
        return len({one.row for one in self.features if one.cut})


@dataclass(frozen=True)
class Prepared:
    """Everything that a fine-tuning reads."""

    task: Task
    train: Part
    validation: Part
    test: Part | None
    counts: list[int]
    """Features of each set of training data."""
    shares: NDArray[np.float64]
    """Share of each set in the samples."""

    @property
    def parts(self) -> dict[str, Part]:
        """The splits that there are, by name."""
        found = {"train": self.train, "validation": self.validation}
        return found | ({"test": self.test} if self.test else {})

    def told(self) -> dict[str, Any]:
        """Rows, features and cut rows of each split."""
        return {
            name: {"rows": len(part.rows), "features": len(part.features), "cut": part.cut}
            for name, part in self.parts.items()
        }


def prepare(
    settings: TaskSettings,
    files: tuple[Files, Files, Files],
    share: float,
    split_seed: int,
    config: PipelineConfig,
    vocabulary: Vocabulary,
) -> Prepared:
    """Read the files to train, validate and test on; without the second a share of the first validates.

    `InputError` for whatever is wrong with a row.
    """
    kind = class_of(settings)
    train, validation, test = (_read(settings, one) for one in files)
    where = ", ".join(str(path) for _, path in files[0])
    kind.learn(settings, train, where)  # what is wrong with all rows is said before some are held out
    if not validation:
        kept, held = hold_out(train, share, split_seed, lambda row: kind.group(settings, row))
        train, validation = [train[i] for i in kept], [train[i] for i in held]
    task = task_of(settings, kind.learn(settings, train, where), config, vocabulary)
    parts = [_part(task, rows) for rows in (train, validation)]
    counts, shares = task.mixture(parts[0].features)
    return Prepared(task, parts[0], parts[1], _part(task, test) if test else None, counts, shares)


def _read(settings: TaskSettings, files: Files) -> list[Row]:
    return [row for name, path in files for row in rows_of(settings, name, path)]


def rows_of(settings: TaskSettings, name: str, path: Path) -> list[Row]:
    """The rows of a file that goes by a name in a recipe."""
    return [settings.named(row, name) for row in read_rows(path, settings.read_of(name))]


def _part(task: Task, rows: list[Row]) -> Part:
    part = Part(rows, [one for index, row in enumerate(rows) for one in task.features(row, index)])
    if task.settings.long_texts == "refuse":
        for one in part.features:
            if one.cut:
                raise InputError(
                    f"{rows[one.row].where}: more tokens than data.sequence_length {task.frame.length} has "
                    "room for; make it longer, or task.long_texts cut"
                )
    return part
