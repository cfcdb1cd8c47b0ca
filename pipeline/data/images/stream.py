"""The endless sequence of samples of a dataset of pictures: sample indices in, `ImageSamples` out.

The order is that of text (`pipeline.data.order`), a sample being one position of the stream: blocks of
neighbouring pictures are put in an order drawn from (seed, epoch), and windows of them are shuffled.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.contract.pictures import QUESTIONS, ImageDataset
from data_prep.contract.pixels import PictureError, as_rgb, opened
from data_prep.contract.questions import Question
from data_prep.contract.settings import InputError
from pipeline.config.view import ViewConfig
from pipeline.data.images.views import CAPTION, PARTNER, QUESTION, Draws, plain_view, training_view
from pipeline.data.order import SampleOrder
from pipeline.data.stream import NOISE
from pipeline.objectives.draws import Words, combine, key, uniform
from pipeline.objectives.pictures import ImageSamples

MOST_PIXELS = 1 << 28
"""What a dataset of ours may hold: preparation has looked at every picture."""


class ImageStream:
    """Samples of one split, numbered on over the epochs; `train` says whether they are augmented.

    size    side of the square of pixels that each picture becomes
    window  samples that are shuffled together
    beside  further pictures of each sample, drawn from all of the split
    """

    def __init__(
        self,
        dataset: ImageDataset,
        split: str,
        view: ViewConfig,
        size: int,
        seed: int,
        *,
        window: int = 4096,
        train: bool = True,
        skip_corrupt: bool = False,
        beside: int = 0,
    ) -> None:
        self.dataset, self.split, self.view, self.size = dataset, split, view, size
        self.train, self.skip_corrupt, self.beside = train, skip_corrupt, beside
        self.corrupt: set[int] = set()
        self.rows = dataset.rows(split)
        self.blocks = dataset.blocks(split)
        self.starts = np.cumsum(self.blocks) - self.blocks
        manifest_seed = key(seed, int(dataset.manifest.fingerprint, 16))
        self.order = SampleOrder(self.blocks, 1, window, manifest_seed)
        if not self.order.samples:
            raise InputError(f"{dataset.folder}: the split {split!r} holds no pictures")
        self._verified = np.zeros(len(self.rows), dtype=bool)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def place(self) -> str:
        """The dataset's folder."""
        return str(self.dataset.folder)

    def locate(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], Words]:
        """The row of the table of samples, and the source of noise, of samples with these indices [B]."""
        rows = np.empty(len(indices), np.int64)
        keys = np.empty(len(indices), np.uint64)
        for epoch, window, places, slots in self.order.locate(indices):
            positions = window * self.order.window + slots
            stream = self.order.stream(epoch)
            turn = np.searchsorted(stream.ends, positions, side="right")
            block = stream.blocks[turn]
            rows[places] = self.starts[block] + positions - (stream.ends[turn] - self.blocks[block])
            keys[places] = combine(self.order.seed, NOISE, epoch, positions)
        return rows, keys

    def samples(self, indices: NDArray[np.int64]) -> ImageSamples:
        """The samples with these indices [B], in this order."""
        return self._samples(*self.locate(indices), self.train)

    def stored(self, start: int, stop: int) -> ImageSamples:
        """The samples of rows [start, stop) in the order in which they are stored, not augmented."""
        rows = np.arange(start, min(stop, len(self)))
        return self._samples(rows, combine(self.order.seed, NOISE, 0, rows), train=False)

    def batches(self, size: int) -> Iterator[ImageSamples]:
        """All samples in the order in which they are stored, `size` at once."""
        return (self.stored(start, start + size) for start in range(0, len(self), size))

    def _samples(self, rows: NDArray[np.int64], keys: Words, train: bool) -> ImageSamples:
        own = self._alone(rows, keys, train)
        return replace(own, partners=self._alone(*self.others(rows, keys), train)) if self.beside else own

    def others(self, rows: NDArray[np.int64], keys: Words) -> tuple[NDArray[np.int64], Words]:
        """Rows and sources of noise of the further pictures of some samples, those of the first one first.

        They are any but the sample's own: so many places behind it, around the end.
        """
        steps = 1 + (uniform(keys, self.beside, PARTNER) * max(1, len(self) - 1)).astype(np.int64)
        turns = np.tile(np.arange(1, self.beside + 1), len(rows))
        return ((rows[:, None] + steps) % len(self)).ravel(), combine(keys.repeat(self.beside), turns)

    def _alone(self, rows: NDArray[np.int64], keys: Words, train: bool) -> ImageSamples:
        """Samples of these rows without further pictures."""
        found = self.rows[rows]
        pixels = np.zeros((len(rows), self.size, self.size, 3), np.uint8)
        real, captions = np.ones(len(rows), bool), []
        questions = list[tuple[Question, ...]]()
        draws = Draws.of(keys, self.view) if train else None
        chosen = uniform(keys, 1, CAPTION)[:, 0]
        for place, row in enumerate(rows.tolist()):
            read = self._read(row)
            if read is None:
                real[place] = False
                captions.append("")
                questions.append(())
                continue
            image, texts = read
            pixels[place] = (
                training_view(image, self.view, self.size, draws, place)
                if draws
                else plain_view(image, self.view, self.size)
            )
            captions.append(caption_of(texts, float(chosen[place]) if train else 0.0))
            questions.append(self.asked(row, keys[place]))
        labels = found["label"].astype(np.int64)
        ids, asked = found["id"].astype(np.uint64), tuple(questions) if self.dataset.has(QUESTIONS) else ()
        return ImageSamples(pixels, labels, tuple(captions), keys, ids, real, train, asked)

    def asked(self, row: int, key: np.uint64) -> tuple[Question, ...]:
        """The questions about a row in the order in which a sample with this source of noise has them."""
        found = self.dataset.questions(self.split, row)
        if not found:
            return ()
        order = uniform(np.array([key]), len(found), QUESTION)[0].argsort(kind="stable")
        return tuple(found[place] for place in order)

    def _read(self, row: int) -> tuple[Image.Image, Sequence[str]] | None:
        """The picture and its captions; None where it is corrupt and may be left out."""
        if row in self.corrupt:
            return None
        try:
            data, captions = self.dataset.sample(self.split, row, not self._verified[row])
            image = as_rgb(opened(data, MOST_PIXELS))
        except (InputError, PictureError) as error:
            sentence = str(error)
            if isinstance(error, PictureError):
                sentence = f"{self.shard_name(row)}: the picture of row {row} is damaged ({error.reason})"
            if not self.skip_corrupt:
                raise InputError(sentence) from error
            self.corrupt.add(row)
            print(f"left out: {sentence}", file=sys.stderr)
            return None
        self._verified[row] = True
        return image, captions

    def caption(self, row: int, key: np.uint64) -> str:
        """The caption that a sample with this source of noise is given of those of a row."""
        captions = self.dataset.sample(self.split, row)[1]
        return caption_of(captions, float(uniform(np.array([key]), 1, CAPTION)[0, 0]) if self.train else 0.0)

    def shard_name(self, row: int) -> str:
        """The path of the shard that holds a sample."""
        path = self.dataset.split(self.split).shards[int(self.rows[row]["shard"])].path
        return f"{self.place}/{path}"

    def shards(self, indices: NDArray[np.int64]) -> set[str]:
        """The shards that some samples are read from."""
        return {self.shard_name(row) for row in self.locate(indices)[0].tolist()}

    @staticmethod
    def merge(places: Sequence[NDArray[np.int64]], parts: Sequence[ImageSamples]) -> ImageSamples:
        """One batch of several, the samples of each part at its places."""
        return ImageSamples.merged(places, parts)


def caption_of(captions: Sequence[str], number: float) -> str:
    """One of the captions by a number in [0, 1); an empty text where there is none."""
    return captions[int(number * len(captions))] if captions else ""
