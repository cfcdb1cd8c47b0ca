"""The batches of pretraining: one data-parallel rank's share of every step, a pure function of the step.

Step s trains on the samples [s x global batch, (s + 1) x global batch) of an endless sequence. Micro batch m
of rank r of W takes B of them from (m x W + r) x B on, so the global batch holds the same samples whatever
the layout, and a run that goes on with another number of ranks neither repeats nor leaves out a sample.
"""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import Dataset
from pipeline.config import PipelineConfig
from pipeline.data.batches import Batch
from pipeline.data.stream import SampleStream
from pipeline.objectives.causal import causal_lm, inside_documents
from pipeline.objectives.samples import Samples


class PretrainingBatches:
    """A `BatchSource` over a dataset.

    `seconds_waited` is the time that `step` has kept its caller waiting; `steps_served` counts the calls.
    Raises `InputError` where the folder is no dataset, a split is empty or a block is corrupt.
    """

    def __init__(self, config: PipelineConfig, dataset: Path, data_rank: int, data_size: int) -> None:
        self.config, self.data_rank, self.data_size = config, data_rank, data_size
        self.accumulation = config.train.accumulation(data_size)
        opened = Dataset(dataset)
        self.train, self.held_out = (self._stream(opened, split) for split in ("train", "validation"))
        self.seconds_waited = 0.0
        self.steps_served = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._ahead: dict[int, Future[list[Batch]]] = {}

    def _stream(self, dataset: Dataset, split: str) -> SampleStream:
        data = self.config.data
        return SampleStream(
            dataset,
            split,
            data.sequence_length,
            data.shuffle_window,
            self.config.seed,
            skip_corrupt=data.corrupt_blocks == "skip",
        )

    def step(self, step: int) -> list[Batch]:
        """The micro batches of this rank at an optimizer step, counted from 0."""
        started = time.perf_counter()
        wanted = range(step, step + 1 + self.config.data.prefetch)
        for late in [number for number in self._ahead if number not in wanted]:
            self._ahead.pop(late).cancel()
        for number in wanted:
            if number not in self._ahead:
                self._ahead[number] = self._thread.submit(self.make_step, number)
        batches = self._ahead.pop(step).result()
        self.seconds_waited += time.perf_counter() - started
        self.steps_served += 1
        return batches

    def make_step(self, step: int) -> list[Batch]:
        """What `step` gives, made here and now."""
        size = self.config.train.micro_batch
        first = step * self.config.train.global_batch
        starts = first + (np.arange(self.accumulation) * self.data_size + self.data_rank) * size
        return [self._batch(self.train, start + np.arange(size)) for start in starts]

    def validation(self) -> Iterator[Batch]:
        """This rank's share of the first `validation_samples` samples of the validation split.

        Every rank yields equally many batches; samples that only fill up have weight 0.
        """
        size = self.config.train.micro_batch
        wanted = min(self.config.train.validation_samples, self.held_out.order.samples)
        together = size * self.data_size
        for start in range(self.data_rank * size, -(-wanted // together) * together, together):
            indices = start + np.arange(size)
            batch = self._batch(self.held_out, indices % wanted)
            batch["weights"][indices >= wanted] = 0
            yield batch

    def close(self) -> None:
        """Stop background work."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _batch(self, stream: SampleStream, indices: NDArray[np.int64]) -> Batch:
        return self._objective(stream.samples(indices), stream.eos)

    def _objective(self, samples: Samples, eos: int) -> Batch:
        batch = causal_lm(samples)
        if self.config.data.attention == "inside_documents":
            batch |= inside_documents(samples, eos)
        return batch
