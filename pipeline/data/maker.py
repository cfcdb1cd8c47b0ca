"""Batches by step, made here and now: what a background thread and every worker process run.

Each step trains on as many samples of an endless sequence as its global batch has, from where the step before
ended. Micro batch m of rank r of W takes B of them from (m x W + r) x B on, so the global batch holds the
same samples whatever the layout, and a run that goes on with another number of ranks neither repeats nor
leaves out a sample.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig
from pipeline.data.mixed import MixedStream, Stream
from pipeline.data.mixture import Mixture
from pipeline.data.remote import open_dataset
from pipeline.data.stream import Cutting, SampleStream
from pipeline.data.tables import special_tokens
from pipeline.objectives.batches import Batch
from pipeline.objectives.registry import objective_of


def cutting(config: PipelineConfig) -> Cutting:
    """How the recipe's objective and data sections cut a token stream."""
    objective = objective_of(config.objective)
    return Cutting(
        width=objective.shape(config.data).width,
        window=config.data.shuffle_window,
        best_fit=config.data.packing == "best_fit",
        fixed=config.objective.static_masks,
        pairs=objective.pairs,
    )


class Maker(ABC):
    """The batches of rank `data_rank` of `data_size`, whatever the samples are.

    train       the endless sequence that is trained on
    held_out    the one that is validated on
    make_batch  samples in, a batch out
    """

    train: MixedStream[Any, Any]
    held_out: Stream[Any]
    make_batch: Callable[[Any], Batch]

    def __init__(self, config: PipelineConfig, data_rank: int, data_size: int) -> None:
        self.config, self.data_rank, self.data_size = config, data_rank, data_size
        config.train.accumulation(data_size)  # refuses what does not divide

    @abstractmethod
    def describe(self, stream: Any) -> dict[str, Any]:
        """Numbers on the samples of one dataset."""

    def check_epochs(self) -> None:
        """`InputError` where the run would read a dataset more often than the recipe allows."""
        limits = [self.config.data.max_epochs, *(entry.max_epochs for entry in self.config.data.mixture)]
        total = self.config.train.samples_before(self.config.train.steps)
        for stream, limit, epochs in zip(self.train.streams, limits, self.epochs(total), strict=True):
            if limit is not None and epochs > limit:
                raise InputError(
                    f"{stream.place}: the run's {total} samples take {epochs:.2f} epochs of it "
                    f"where max_epochs is {limit:g}; lower its weight or train.steps, or raise the limit"
                )

    def epochs(self, samples: int) -> list[float]:
        """How many epochs of each dataset the first `samples` samples take."""
        drawn = self.train.mixture.drawn(samples)
        return [count / stream.order.samples for count, stream in zip(drawn, self.train.streams, strict=True)]

    def indices(self, step: int) -> list[NDArray[np.int64]]:
        """The global sample indices of each micro batch of this rank."""
        train, size = self.config.train, self.config.train.micro_batch
        counted = np.arange(train.accumulation(self.data_size, step))
        starts = train.samples_before(step) + (counted * self.data_size + self.data_rank) * size
        return [start + np.arange(size) for start in starts]

    def step(self, step: int) -> list[Batch]:
        """The micro batches of this rank at an optimizer step, counted from 0."""
        return [self.make_batch(self.train.samples(indices)) for indices in self.indices(step)]

    def validation(self) -> Iterator[Batch]:
        """This rank's share of the first `validation_samples` samples of the validation split.

        Every rank yields equally many batches; samples that only fill up have weight 0.
        """
        size = self.config.train.micro_batch
        wanted = min(self.config.train.validation_samples, self.held_out.order.samples)
        together = size * self.data_size
        for start in range(self.data_rank * size, -(-wanted // together) * together, together):
            indices = start + np.arange(size)
            batch = self.make_batch(self.held_out.samples(indices % wanted))
            for name in batch:
                if name.endswith("weights"):
                    batch[name][indices >= wanted] = 0
            yield batch

    def shards(self, step: int) -> list[str]:
        """The shards that this rank's samples of a step come from."""
        return sorted({name for indices in self.indices(step) for name in self.train.shards(indices)})

    def report(self, steps: int) -> list[dict[str, Any]]:
        """What the samples of the first `steps` steps are like, a dictionary per dataset."""
        total = self.config.train.samples_before(steps)
        shares, epochs = self.train.mixture.shares, self.epochs(total)
        return [
            self.describe(stream) | {"share": share, "epochs": passed}
            for stream, share, passed in zip(self.train.streams, shares, epochs, strict=True)
        ]


class BatchMaker(Maker):
    """The batches of tokens over a dataset and the recipe's mixture.

    Raises `InputError` where a folder is no dataset, a split is empty, tokenizers differ, the run would
    pass an epoch limit, or a block is corrupt.
    """

    def __init__(self, config: PipelineConfig, dataset: str, data_rank: int, data_size: int) -> None:
        super().__init__(config, data_rank, data_size)
        own = open_dataset(dataset, config.data)
        others = [open_dataset(entry.dataset, config.data) for entry in config.data.mixture]
        check_tokenizers(own, others)
        streams = [self._stream(one, "train") for one in (own, *others)]
        weights = [config.data.weight, *(entry.weight for entry in config.data.mixture)]
        self.train = MixedStream(streams, Mixture(weights))
        self.held_out = self._stream(own, "validation")
        special = special_tokens(own.vocabulary)
        self.make_batch = objective_of(config.objective).batches(config.data, special)
        self.check_epochs()

    def _stream(self, dataset: Dataset, split: str) -> SampleStream:
        skip = self.config.data.corrupt_blocks == "skip"
        return SampleStream(dataset, split, cutting(self.config), self.config.seed, skip)

    def describe(self, stream: SampleStream) -> dict[str, Any]:
        """As `describe` has it."""
        return describe(stream)


def describe(stream: SampleStream) -> dict[str, Any]:
    """Numbers on one dataset's samples.

    `padding` is the share of an epoch's positions that no token fills. `cropped` is the share of tokens that
    are in no sample: none is, whatever the packing. `cuts_per_document` and `blocks_left_out` are over the
    windows that this process has read so far; with workers it has read none.
    """
    order = stream.order
    return {
        "dataset": stream.reader.place,
        "fingerprint": stream.dataset.manifest.fingerprint,
        "samples_per_epoch": order.samples,
        "padding": 1 - order.total / (order.samples * order.width),
        "cropped": 0.0,
        "cuts_per_document": stream.cuts / max(stream.documents, 1),
        "blocks_left_out": len(stream.reader.corrupt),
    }


def check_tokenizers(own: Dataset, others: Sequence[Dataset]) -> None:
    """`InputError` where a dataset of the mixture has other tokens than the recipe's own."""
    for other in others:
        if other.manifest.tokenizer_sha256 != own.manifest.tokenizer_sha256:
            raise InputError(
                f"{other.folder}: made with another tokenizer than {own.folder}; prepare it with "
                "the tokenizer.model of the recipe's dataset"
            )
