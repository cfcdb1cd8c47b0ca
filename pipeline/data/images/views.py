"""A picture to the square of pixels that a model is given: crops, flips, erasing, by numbers that come in.

Random resized crop: Szegedy et al., "Going deeper with convolutions", 2014, section 6: an area and a ratio
are drawn until the crop fits, ten times at most; then it is the largest centred one of an allowed ratio.
Random erasing: Zhong et al. 2017, algorithm 1, with noise in the rectangle.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipeline.config.view import ViewConfig
from pipeline.data.images.randaugment import rand_augment
from pipeline.objectives.draws import Words, uniform, words

CROP, FLIP, OPERATIONS, ERASE, NOISE, CAPTION, QUESTION, PARTNER = range(
    100, 108
)  # what a number is drawn for
TRIES = 10
FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}
Box = tuple[int, int, int, int]
"""Left, upper, right, lower; the last two are not in it."""
Numbers = Sequence[float]


@dataclass(frozen=True)
class Draws:
    """The numbers in [0, 1) of B samples: [B, count] for each purpose."""

    crop: NDArray[np.float64]
    flip: NDArray[np.float64]
    operations: NDArray[np.float64]
    erase: NDArray[np.float64]
    keys: Words

    @classmethod
    def of(cls, keys: Words, view: ViewConfig) -> "Draws":
        """All numbers that a view needs for samples with these keys [B]."""
        layers = view.randaugment.layers if view.randaugment else 0
        return cls(
            crop=uniform(keys, 2 * TRIES + 2, CROP),
            flip=uniform(keys, 1, FLIP),
            operations=uniform(keys, 2 * layers, OPERATIONS),
            erase=uniform(keys, 2 * TRIES + 3, ERASE),
            keys=keys,
        )


def training_view(
    image: Image.Image, view: ViewConfig, size: int, draws: Draws, row: int
) -> NDArray[np.uint8]:
    """[size, size, 3] pixels of an RGB picture, as drawn for sample `row` of a batch."""
    image = _cropped(image, view, size, draws.crop[row].tolist())
    if draws.flip[row, 0] < view.flip:
        image = ImageOps.mirror(image)
    if view.randaugment:
        image = rand_augment(image, view.randaugment, draws.operations[row].tolist())
    pixels = np.array(image)
    if view.erase and draws.erase[row, 0] < view.erase:
        left, upper, right, lower = erased(size, view.erase_area, draws.erase[row, 1:].tolist())
        shape = (lower - upper, right - left, 3)
        count = math.prod(shape)
        noise = words(draws.keys[row : row + 1], -(-count // 8), NOISE).view(np.uint8)[0, :count]
        pixels[upper:lower, left:right] = noise.reshape(shape)
    return pixels


def plain_view(image: Image.Image, view: ViewConfig, size: int) -> NDArray[np.uint8]:
    """[size, size, 3] pixels of an RGB picture: its short side brought to the size, then its centre."""
    return np.array(_centre(image, view, size))


def _cropped(image: Image.Image, view: ViewConfig, size: int, numbers: Numbers) -> Image.Image:
    if view.crop == "random_resized":
        box = resized_crop(image.size, view.scale, view.ratio, numbers)
        return _resized(image, view, (size, size), box)
    if view.crop == "random":
        if view.padding:
            image = ImageOps.expand(image, view.padding)
        if min(image.size) < size:
            image = _short_side(image, view, size)
        left, upper = (
            int(number * (side - size + 1)) for number, side in zip(numbers, image.size, strict=False)
        )
        return image.crop((left, upper, left + size, upper + size))
    return _centre(image, view, size)


def _centre(image: Image.Image, view: ViewConfig, size: int) -> Image.Image:
    image = _short_side(image, view, size)
    left, upper = ((side - size) // 2 for side in image.size)
    return image.crop((left, upper, left + size, upper + size)) if image.size != (size, size) else image


def _short_side(image: Image.Image, view: ViewConfig, size: int) -> Image.Image:
    short = min(image.size)
    width, height = (max(size, round(side * size / short)) for side in image.size)
    return _resized(image, view, (width, height))


def _resized(image: Image.Image, view: ViewConfig, size: tuple[int, int], box: Any = None) -> Image.Image:
    if image.size == size and box in (None, (0, 0, *size)):
        return image
    return image.resize(size, FILTERS[view.filter], box)


def resized_crop(
    size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float], numbers: Numbers
) -> Box:
    """The part of a picture of this size (width, height) that is taken.

    >>> resized_crop((100, 80), (1.0, 1.0), (1.25, 1.25), [0.5] * 22)
    (0, 0, 100, 80)
    """
    width, height = size
    for attempt in range(TRIES):
        area = width * height * (scale[0] + (scale[1] - scale[0]) * numbers[2 * attempt])
        wanted = _log_uniform(ratio, numbers[2 * attempt + 1])
        across, down = round(math.sqrt(area * wanted)), round(math.sqrt(area / wanted))
        if 0 < across <= width and 0 < down <= height:
            left = int(numbers[-2] * (width - across + 1))
            upper = int(numbers[-1] * (height - down + 1))
            return left, upper, left + across, upper + down
    across = min(width, max(1, round(height * ratio[1])))
    down = min(height, max(1, round(width / ratio[0])))
    left, upper = (width - across) // 2, (height - down) // 2
    return left, upper, left + across, upper + down


def erased(size: int, share: tuple[float, float], numbers: Numbers) -> Box:
    """The rectangle of a square picture that becomes noise; an empty one where none fits in ten tries."""
    for attempt in range(TRIES):
        area = size * size * (share[0] + (share[1] - share[0]) * numbers[2 * attempt])
        wanted = _log_uniform((0.3, 1 / 0.3), numbers[2 * attempt + 1])
        across, down = round(math.sqrt(area * wanted)), round(math.sqrt(area / wanted))
        if across < size and down < size:
            left = int(numbers[-2] * (size - across + 1))
            upper = int(numbers[-1] * (size - down + 1))
            return left, upper, left + across, upper + down
    return 0, 0, 0, 0


def _log_uniform(bounds: tuple[float, float], number: float) -> float:
    low, high = math.log(bounds[0]), math.log(bounds[1])
    return math.exp(low + (high - low) * number)
