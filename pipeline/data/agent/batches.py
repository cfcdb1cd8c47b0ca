"""The batches of an agent: rows of episodes, texts and pictures dealt out by weight."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.contract.dataset import Dataset
from data_prep.contract.pictures import TRAIN, VALIDATION, ImageDataset
from pipeline.config import PipelineConfig
from pipeline.config.agent import AgentConfig, Interface
from pipeline.data.agent.episodes import EpisodesFolder
from pipeline.data.agent.streams import EpisodeRows, PictureRows, Rows, TextRows
from pipeline.data.images.stream import ImageStream
from pipeline.data.maker import Maker, cutting
from pipeline.data.mixed import MixedStream
from pipeline.data.mixture import Mixture
from pipeline.data.stream import SampleStream
from pipeline.objectives.batches import Batch


class AgentBatches(Maker):
    """A `BatchSource` over episodes, a dataset of texts and perhaps one of pictures with captions.

    Rows are made when they are asked for. Validation is on held-out episodes.
    `InputError` where one of them is not there or damaged.
    """

    def __init__(
        self,
        config: PipelineConfig,
        interface: Interface,
        folders: tuple[Path, Path, Path | None],
        data_rank: int,
        data_size: int,
    ) -> None:
        """`folders` are those of the episodes, the texts and the pictures."""
        super().__init__(config, data_rank, data_size)
        own, data = config.train, config.data
        assert isinstance(own, AgentConfig)
        episodes, texts = EpisodesFolder(folders[0]), Dataset(folders[1])
        skip = data.corrupt_blocks == "skip"

        def steps(split: str) -> EpisodeRows:
            return EpisodeRows(episodes, split, interface, data.sequence_length, config.seed, own.prompted)

        words = SampleStream(texts, TRAIN, cutting(config), config.seed, skip)
        streams: list[tuple[Rows, float]] = [
            (steps(TRAIN), own.episodes_weight),
            (TextRows(words, interface), own.texts_weight),
        ]
        if folders[2] is not None:
            assert interface.image_size is not None
            shown = ImageStream(
                ImageDataset(folders[2]),
                TRAIN,
                data.view,
                interface.image_size,
                config.seed,
                window=data.shuffle_window,
                skip_corrupt=skip,
            )
            rows = PictureRows(shown, interface, texts.vocabulary, data.sequence_length)
            streams.append((rows, own.pictures_weight))
        self.train = MixedStream([one for one, _ in streams], Mixture([weight for _, weight in streams]))
        self.held_out_steps = steps(VALIDATION)
        self.make_batch = unchanged

    def validation(self) -> Iterator[Batch]:
        """This rank's share of `validation_samples` rows of held-out episodes."""
        size, wanted = self.config.train.micro_batch, self.config.train.validation_samples
        together = size * self.data_size
        for start in range(self.data_rank * size, -(-wanted // together) * together, together):
            indices = start + np.arange(size)
            batch = self.held_out_steps.samples(indices)
            batch["weights"][indices >= wanted] = 0
            yield batch

    def describe(self, stream: Any) -> dict[str, Any]:
        """Where rows are from."""
        return {"dataset": stream.place, "samples_per_epoch": stream.samples_per_epoch}

    def epochs(self, samples: int) -> list[float]:
        """How many times each was read by the first `samples` samples, as their tokens go."""
        drawn = self.train.mixture.drawn(samples)
        return [
            count / stream.samples_per_epoch for count, stream in zip(drawn, self.train.streams, strict=True)
        ]

    def documents(self, step: int) -> list[dict[str, Any]]:
        """Where the rows of the global batch of a step are from, with their numbers there."""
        train = self.config.train
        indices = train.samples_before(step) + np.arange(
            train.samples_before(step + 1) - train.samples_before(step)
        )
        return [
            {"document": f"row {number} of {stream.place}"}
            for stream, _, own in self.train.deal(indices)
            for number in own.tolist()
        ]

    def close(self) -> None:
        """Nothing runs in the background."""


def unchanged(batch: Batch) -> Batch:
    """Streams give batches already."""
    return batch
