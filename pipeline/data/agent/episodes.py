"""Episodes of tasks in a folder, written once and read by every rank.

episodes.json                            tasks, splits, returns, the hash of each file
CartPole-v1/train.observations.npy       [T, D] float32, the steps of all episodes one behind the other
CartPole-v1/train.actions.npy            [T, A] int32 of choices, float32 of what is continuous
CartPole-v1/train.lengths.npy            [E] int64 steps of each episode
CartPole-v1/train.returns.npy            [E] float64 what each came to
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from data_prep.contract.binary import read_array
from data_prep.contract.problems import first_problem
from data_prep.contract.reading import read_json
from data_prep.contract.receipt import file_hash, fingerprint, write_atomic
from data_prep.contract.settings import InputError, Settings
from pipeline.config.agent import Controls

EPISODES = "episodes"
"""What a stage gives whose folder this is."""
MANIFEST = "episodes.json"
SPLITS = ("train", "validation")
ARRAYS = {"observations": 2, "actions": 2, "lengths": 1, "returns": 1}
"""Files of a split, and their dimensions."""


@dataclass(frozen=True)
class Episodes:
    """Episodes of a task, the steps of all one behind the other."""

    observations: NDArray[Any]
    actions: NDArray[Any]
    lengths: NDArray[Any]
    returns: NDArray[Any]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """[E] the first step of each."""
        return np.cumsum(self.lengths) - self.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def part(self, number: int, start: int, stop: int) -> slice:
        """The steps [start, stop) of an episode, as many of them as it has."""
        first = int(self.starts[number])
        return slice(first + start, first + min(stop, int(self.lengths[number])))


class Manifest(Settings):
    tasks: list[Controls] = Field(min_length=1)
    files: dict[str, str]
    """The sha256 of each file by its path."""


class EpisodesFolder:
    """The folder, checked. `InputError` where it is none or a file is not what was written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / MANIFEST).is_file():
            raise InputError(
                f"{folder}: no episodes there ({MANIFEST}); run the stage that writes them first"
            )
        try:
            self.manifest = Manifest.model_validate(read_json(folder / MANIFEST))
        except ValidationError as error:
            raise InputError(f"{folder / MANIFEST}: no episodes ({first_problem(error)})") from None

    @property
    def tasks(self) -> list[Controls]:
        """What there are episodes of."""
        return self.manifest.tasks

    @property
    def fingerprint(self) -> str:
        """Stands for all of it."""
        return fingerprint(self.manifest)

    def split(self, task: Controls, name: str) -> Episodes:
        """The episodes of a task in a split, mapped."""
        arrays = {
            what: self._array(file_of(task, name, what), dimensions) for what, dimensions in ARRAYS.items()
        }
        found = Episodes(**arrays)
        steps = int(found.lengths.sum())
        shapes = {
            "observations": (steps, task.observations),
            "actions": (steps, task.actions),
            "returns": (len(found),),
        }
        for what, shape in shapes.items():
            if arrays[what].shape != shape:
                raise InputError(
                    f"{self.folder / file_of(task, name, what)}: {arrays[what].shape} numbers, where the "
                    f"lengths of the episodes make it {shape}"
                )
        if not len(found):
            raise InputError(f"{self.folder}: no episode of {task.name} in the split {name}")
        return found

    def _array(self, name: str, dimensions: int) -> NDArray[Any]:
        path = self.folder / name
        if name not in self.manifest.files or not path.is_file():
            raise InputError(f"{path}: no such file of episodes; run the stage that writes them again")
        if file_hash(path) != self.manifest.files[name]:
            raise InputError(f"{path}: not the file that was written; run the stage that writes it again")
        return read_array(path, "if", dimensions, mapped=True)


def file_of(task: Controls, split: str, what: str) -> str:
    """The path of a file in the folder."""
    return f"{task.name}/{split}.{what}.npy"


def write_episodes(folder: Path, tasks: Mapping[str, tuple[Controls, Mapping[str, Episodes]]]) -> Manifest:
    """Write the folder: the splits of each task."""
    files = {}
    for task, splits in tasks.values():
        (folder / task.name).mkdir(parents=True, exist_ok=True)
        for split, episodes in splits.items():
            for what in ARRAYS:
                content = io.BytesIO()
                np.save(content, getattr(episodes, what), allow_pickle=False)
                write_atomic(folder / file_of(task, split, what), content.getvalue())
                files[file_of(task, split, what)] = file_hash(folder / file_of(task, split, what))
    manifest = Manifest(tasks=[task for task, _ in tasks.values()], files=files)
    write_atomic(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    return manifest
