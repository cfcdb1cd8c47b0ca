"""Streams of an agent's rows, of episodes, texts and pictures: pure functions of seed and index."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.vocabulary import Vocabulary
from pipeline.config.agent import Controls, Interface
from pipeline.data.agent.episodes import Episodes, EpisodesFolder
from pipeline.data.images.stream import ImageStream
from pipeline.data.stream import SampleStream
from pipeline.objectives.agent.rows import joined, pictures, row, texts, without_pictures
from pipeline.objectives.agent.steps import learned, places, step_tokens
from pipeline.objectives.batches import Batch
from pipeline.objectives.draws import combine, key, uniform

EPISODE, PARTS = 210, 211  # what a number is drawn for
LAST = 1 - 2.0**-53
"""The largest number below 1."""


class Rows:
    """What an agent's streams have in common."""

    place: str

    def shards(self, indices: NDArray[np.int64]) -> set[str]:
        """Where samples are read from."""
        del indices
        return {self.place}

    def merge(self, places: Sequence[NDArray[np.int64]], parts: Sequence[Batch]) -> Batch:
        """One batch of several, the rows of each part at its places."""
        order = np.argsort(np.concatenate(places))
        return {name: array[order] for name, array in joined(parts).items()}


class TaskSteps:
    """The episodes of a task as tokens."""

    def __init__(self, episodes: Episodes, task: Controls, interface: Interface) -> None:
        self.episodes, self.task = episodes, task
        self.tokens = step_tokens(episodes.observations, episodes.actions, task, interface).astype(np.int32)
        self.learned, self.places = learned(task), places(task)

    def window(self, number: int, where: float, steps: int) -> slice:
        """Up to so many steps of an episode, from where in it a number in [0, 1) says."""
        first = int(where * max(1, int(self.episodes.lengths[number]) - steps + 1))
        return self.episodes.part(number, first, first + steps)

    def prompt(self, number: int, where: float, kind: float, steps: int) -> slice:
        """Steps of an episode that a sequence is prompted with: as likely its last ones as any."""
        return self.window(number, LAST if kind < 0.5 else where, steps)

    def pair(self, one: float, other: float) -> tuple[int, int]:
        """An episode and another one, by two numbers in [0, 1); the same where there is one alone."""
        count = len(self.episodes)
        number = int(one * count)
        return number, (number + 1 + int(other * (count - 1))) % count


def prompt_steps(task: Controls, length: int) -> int:
    """Whole steps in half of a sequence."""
    return length // 2 // task.width


class EpisodeRows(Rows):
    """Sequences of steps, the tasks in turn; some begin with steps of another episode of their task."""

    def __init__(
        self,
        folder: EpisodesFolder,
        split: str,
        interface: Interface,
        length: int,
        seed: int,
        prompted: float,
    ) -> None:
        self.place, self.length = str(folder.folder), length
        self.prompted, self.interface = prompted, interface
        self.tasks = [TaskSteps(folder.split(task, split), task, interface) for task in interface.tasks]
        self.seed = key(seed, int(folder.fingerprint, 16), len(split))
        self.samples_per_epoch = sum(-(-one.tokens.size // length) for one in self.tasks)

    def samples(self, indices: NDArray[np.int64]) -> Batch:
        """Rows with these indices [B], in this order."""
        drawn = uniform(combine(self.seed, EPISODE, indices), 6, PARTS)
        rows = [
            self._row(self.tasks[index % len(self.tasks)], draws)
            for index, draws in zip(indices, drawn, strict=True)
        ]
        return without_pictures(joined(rows), self.interface)

    def _row(self, task: TaskSteps, draws: NDArray[np.float64]) -> Batch:
        steps = self.parts(task, draws)
        count = len(steps)
        return row(
            steps.ravel().astype(np.int64),
            np.tile(task.learned, count),
            np.tile(task.places, count),
            self.length,
        )

    def parts(self, task: TaskSteps, draws: NDArray[np.float64]) -> NDArray[Any]:
        """[n, W] the steps of a row."""
        room, width = self.length + 1, task.task.width
        number, other = task.pair(draws[1], draws[2])
        if draws[0] >= self.prompted:
            return task.tokens[task.window(number, draws[3], -(-room // width))]
        begun = task.prompt(other, draws[4], draws[5], prompt_steps(task.task, self.length))
        first = task.tokens[begun]
        rest = task.window(number, draws[3], -(-(room - first.size) // width))
        return np.concatenate((first, task.tokens[rest]))


class TextRows(Rows):
    """Sequences of a dataset of texts."""

    def __init__(self, stream: SampleStream, interface: Interface) -> None:
        self.stream, self.interface, self.place = stream, interface, stream.place
        self.samples_per_epoch = stream.order.samples

    def samples(self, indices: NDArray[np.int64]) -> Batch:
        """Rows with these indices [B], in this order."""
        return without_pictures(texts(self.stream.samples(indices)), self.interface)


class PictureRows(Rows):
    """Pictures, each with its caption behind it."""

    def __init__(
        self, stream: ImageStream, interface: Interface, vocabulary: Vocabulary, length: int
    ) -> None:
        self.stream, self.interface, self.place = stream, interface, stream.place
        self.vocabulary, self.length = vocabulary, length
        self.samples_per_epoch = stream.order.samples

    def samples(self, indices: NDArray[np.int64]) -> Batch:
        """Rows with these indices [B], in this order."""
        return pictures(self.stream.samples(indices), self.interface, self.vocabulary, self.length)
