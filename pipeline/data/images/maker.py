"""The batches of pictures of a step: the maker of `pipeline.data.maker` over streams of pictures."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from data_prep.contract.pictures import TRAIN, VALIDATION, ImageDataset
from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig
from pipeline.data.images.stream import ImageStream
from pipeline.data.maker import Maker
from pipeline.data.mixed import MixedStream
from pipeline.data.mixture import Mixture
from pipeline.objectives.batches import Batch
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.registry import objective_of


class ImageBatchMaker(Maker):
    """The batches of pictures over a dataset and the recipe's mixture.

    make_batch  what makes a batch of samples; the recipe's objective where left out

    Raises `InputError` where a folder is no dataset of pictures, a split is empty, the datasets of a mixture
    differ in what samples have, in their classes or their tokenizer, or the run would pass an epoch limit.
    """

    def __init__(
        self,
        config: PipelineConfig,
        dataset: str,
        data_rank: int,
        data_size: int,
        make_batch: Callable[[ImageSamples], Batch] | None = None,
    ) -> None:
        super().__init__(config, data_rank, data_size)
        own = ImageDataset(Path(dataset))
        others = [ImageDataset(Path(entry.dataset)) for entry in config.data.mixture]
        check_alike(own, others)
        self.size = size_of(config, own)
        streams = [self._stream(one, TRAIN) for one in (own, *others)]
        weights = [config.data.weight, *(entry.weight for entry in config.data.mixture)]
        self.train = MixedStream(streams, Mixture(weights))
        self.dataset, self.held_out = own, self._stream(own, VALIDATION)
        self.make_batch = make_batch or objective_of(config.objective).picture_batches(config, own)
        self.check_epochs()

    def _stream(self, dataset: ImageDataset, split: str) -> ImageStream:
        data = self.config.data
        return ImageStream(
            dataset,
            split,
            data.view,
            self.size,
            self.config.seed,
            window=data.shuffle_window,
            train=split == TRAIN,
            skip_corrupt=data.corrupt_blocks == "skip",
            beside=objective_of(self.config.objective).partners,
        )

    def samples_of(self, split: str, size: int) -> Iterator[ImageSamples]:
        """A whole split of the recipe's own dataset in stored order, `size` samples at once."""
        return self._stream(self.dataset, split).batches(size)

    def describe(self, stream: ImageStream) -> dict[str, Any]:
        """Numbers on one dataset's samples."""
        return {
            "dataset": stream.place,
            "fingerprint": stream.dataset.manifest.fingerprint,
            "samples_per_epoch": stream.order.samples,
            "pictures_left_out": len(stream.corrupt),
        }


def size_of(config: PipelineConfig, dataset: ImageDataset) -> int:
    """Side of the squares that pictures become: the recipe's, the model's, or that of the stored pictures."""
    vision = getattr(config, "vision", None)
    size = config.data.view.size or getattr(vision, "image_size", None) or dataset.manifest.pixels.get("size")
    if not size:
        raise InputError(
            f"data.view.size: {dataset.folder} has pictures of several sizes; name the side of the squares "
            "that they become"
        )
    return int(size)


def check_alike(own: ImageDataset, others: Sequence[ImageDataset]) -> None:
    """`InputError` where a dataset of the mixture has other samples than the recipe's own."""
    for other in others:
        ours, theirs = own.manifest, other.manifest
        for name, mine, its in (
            ("fields", ours.fields, theirs.fields),
            ("classes", ours.classes, theirs.classes),
            ("tokenizer", ours.tokenizer_sha256, theirs.tokenizer_sha256),
        ):
            if mine != its:
                raise InputError(
                    f"{other.folder}: its {name} are not those of {own.folder}; datasets of a mixture share "
                    "fields, classes and tokenizer"
                )
