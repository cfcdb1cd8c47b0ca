"""A task's features as a `BatchSource`: a pure function of seed, step and features."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.config import PipelineConfig
from pipeline.finetuning import order
from pipeline.finetuning.prepared import Prepared
from pipeline.objectives.batches import Batch
from pipeline.tasks.task import Feature, empty

BEGINNING = 160
"""Characters of a row that tell which one it is."""


class TaskBatches:
    """The batches of one data-parallel rank. A global batch is padded to its longest sample."""

    def __init__(self, prepared: Prepared, config: PipelineConfig, data_rank: int, data_size: int) -> None:
        self.prepared, self.task, self.train = prepared, prepared.task, config.train
        self.rank, self.size = data_rank, data_size
        self.staged = config.parallel.pipeline > 1
        self.train.accumulation(data_size)  # refuses what does not divide
        features = prepared.train.features
        left_out = self.train.spike_rollbacks * self.train.spike_skip
        samples = self.train.samples_before(self.train.steps + left_out)
        mixed = order.mixed(prepared.counts, prepared.shares, samples, config.seed)
        lengths = np.array([one.length for one in features])
        self._order = order.by_length(mixed, lengths, self.train.global_batch, config.seed)

    def step(self, step: int) -> list[Batch]:
        """The micro batches of this rank at optimizer step `step`, counted from 0."""
        size, first = self.train.micro_batch, self.train.samples_before(step)
        chosen = [
            self.prepared.train.features[i] for i in self._order[first : self.train.samples_before(step + 1)]
        ]
        starts = [(m * self.size + self.rank) * size for m in range(self.train.accumulation(self.size, step))]
        return [self.task.batch(chosen[start : start + size], chosen) for start in starts]

    def validation_features(self) -> list[list[Feature]]:
        """This rank's share of the validation features by batch, filled up with features of weight 0."""
        ordered = sorted(self.prepared.validation.features, key=lambda one: one.length)
        size = self.train.micro_batch
        count = math.ceil(len(ordered) / (size * self.size)) * size * self.size
        ordered += [empty(ordered[0])] * (count - len(ordered))
        return [
            ordered[start + self.rank * size : start + (self.rank + 1) * size]
            for start in range(0, count, size * self.size)
        ]

    def validation(self) -> Iterator[Batch]:
        """The same as batches; pipeline stages are given equal lengths."""
        batches = self.validation_features()
        for batch in batches:
            yield self.task.batch(batch, self.prepared.validation.features if self.staged else batch)

    def documents(self, step: int) -> list[dict[str, Any]]:
        """The rows in the global batch of a step."""
        first, last = self.train.samples_before(step), self.train.samples_before(step + 1)
        rows = [
            self.prepared.train.rows[self.prepared.train.features[i].row] for i in self._order[first:last]
        ]
        return [{"document": row.where, "text": self.task.show(row)[:BEGINNING]} for row in rows]

    def report(self, steps: int) -> list[dict[str, Any]]:
        """What became of the rows, and how often each was trained on."""
        seen = self.train.samples_before(steps) / len(self.prepared.train.features)
        return [self.prepared.told() | {"epochs": seen}]

    def close(self) -> None:
        """Nothing runs in the background."""
