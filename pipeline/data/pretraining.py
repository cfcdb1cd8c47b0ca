"""The batches of pretraining, made in the background while the model computes."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline.config import PipelineConfig
from pipeline.data.making import maker_of
from pipeline.data.workers import WorkerJob, WorkerPool
from pipeline.objectives.batches import Batch

BEGINNING = 160
"""Characters of a document that tell which one it is."""


class PretrainingBatches:
    """A `BatchSource` over a dataset and the recipe's mixture.

    dataset     folder of the recipe's own dataset, or its address
    pin_memory  whether the arrays lie in page-locked memory, from where a GPU copies without waiting

    `seconds_waited` is the time that `step` kept its caller waiting, over `steps_served` calls. Raises
    `InputError` as `maker_of` does, and where workers keep dying.
    """

    def __init__(
        self,
        config: PipelineConfig,
        dataset: Path | str,
        data_rank: int,
        data_size: int,
        pin_memory: bool = False,
    ) -> None:
        self.dataset = str(dataset)
        self.maker = maker_of(config, self.dataset, data_rank, data_size)
        self.pin_memory = pin_memory
        self.seconds_waited = 0.0
        self.steps_served = 0
        workers = config.data.workers
        self._pool = None
        if workers:
            self._pool = WorkerPool(
                WorkerJob(config, str(dataset), data_rank, data_size), workers, self.maker
            )
        self._depth = max(config.data.prefetch, workers)
        self._threads = ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="batches")
        self._ahead: dict[int, Future[list[Batch]]] = {}

    def step(self, step: int) -> list[Batch]:
        """The micro batches of this rank at an optimizer step, counted from 0."""
        started = time.perf_counter()
        wanted = range(step, step + 1 + self._depth)
        for late in [number for number in self._ahead if number not in wanted]:
            self._ahead.pop(late).cancel()
        for number in wanted:
            if number not in self._ahead:
                self._ahead[number] = self._threads.submit(self._make, number)
        batches = self._ahead.pop(step).result()
        self.seconds_waited += time.perf_counter() - started
        self.steps_served += 1
        return batches

    def _make(self, step: int) -> list[Batch]:
        batches = (self._pool or self.maker).step(step)
        return [pinned(batch) for batch in batches] if self.pin_memory else batches

    def validation(self) -> Iterator[Batch]:
        """This rank's share of the fixed validation samples; fill-ups have weight 0."""
        return self.maker.validation()

    def documents(self, step: int) -> list[dict[str, Any]]:
        """The documents in the global batch of a step, with the beginning of what it holds of them."""
        from pipeline.data.provenance import trace_step

        return [
            {
                "document": f"{excerpt.document:016x}",
                "source": excerpt.source,
                "url": excerpt.url,
                "sample": sample.number,
                "tokens": excerpt.tokens,
                "text": excerpt.text[:BEGINNING],
            }
            for sample in trace_step(self.maker.config, self.dataset, step)
            for excerpt in sample.excerpts
        ]

    def report(self, steps: int) -> list[dict[str, Any]]:
        """What the first `steps` steps were made of, a dictionary per dataset; see `maker.describe`."""
        return self.maker.report(steps)

    def close(self) -> None:
        """Stop background work."""
        self._threads.shutdown(wait=self._pool is None, cancel_futures=True)
        if self._pool is not None:
            self._pool.close()
            self._threads.shutdown(wait=True)


def pinned(batch: Batch) -> Batch:
    """The same arrays in page-locked memory."""
    import torch

    return {name: torch.from_numpy(array).pin_memory().numpy() for name, array in batch.items()}
