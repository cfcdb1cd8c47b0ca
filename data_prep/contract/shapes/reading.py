"""The oracle: pixels to the scene, by the nearest colour of each and the best overlap with drawn shapes.

It is right about every picture that `drawing` makes. Of a generated one it tells what that shows best, so
that what a model draws is judged by the rules and by no other model.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from data_prep.contract.shapes.drawing import BACKGROUND, template
from data_prep.contract.shapes.scene import COLOURS, SHAPES, SIDE, SIZES, Scene, Thing

LEAST_OVERLAP = 0.5
"""Pixels that a colour and a shape share over those that either has; below it there is no such thing."""
MOST = 4
"""Things in a scene."""


def read(picture: NDArray[np.uint8]) -> Scene:
    """The scene in a picture [H, H, 3] where H is a multiple of 32; an empty one where nothing is seen."""
    factor = len(picture) // SIDE
    small = picture.reshape(SIDE, factor, SIDE, factor, 3).mean((1, 3))
    palette = np.array([BACKGROUND, *COLOURS.values()], np.float64)
    nearest = ((small[:, :, None] - palette) ** 2).sum(-1).argmin(-1)
    found = [
        (overlap, thing)
        for number, colour in enumerate(COLOURS, start=1)
        for overlap, thing in _of_colour(nearest == number, colour)
    ]
    best = sorted(found, key=lambda one: -one[0])[:MOST]
    return Scene(tuple(sorted(thing for _, thing in best)))


def _of_colour(mask: NDArray[np.bool_], colour: str) -> list[tuple[float, Thing]]:
    """The things of one colour, the clearest first; what one covers is taken away before the next."""
    found: list[tuple[float, Thing]] = []
    left = mask.copy()
    while len(found) < MOST and left.any():
        overlap, shape, size, x, y = max((_best(left, size) for size in SIZES), key=lambda one: one[0])
        if overlap < LEAST_OVERLAP:
            break
        found.append((overlap, Thing(shape, colour, size, x, y)))
        radius = SIZES[size]
        left[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1] = False
    return found


def _best(mask: NDArray[np.bool_], size: str) -> tuple[float, str, str, int, int]:
    """The largest overlap of a shape of one size with a mask over all shapes and places, and its centre.

    Pixels of the mask count where they are in the window of the shape: what lies beside it may be another's.
    """
    side = 2 * SIZES[size] + 3
    windows = sliding_window_view(np.pad(mask, side // 2), (side, side)).reshape(-1, side * side)
    wanted = np.stack([np.pad(template(shape, size), 1).ravel() for shape in SHAPES], axis=1)
    both = windows.astype(np.float32) @ wanted.astype(np.float32)
    overlap = both / (windows.sum(1, keepdims=True) + wanted.sum(0) - both)
    place, shape = divmod(int(overlap.argmax()), len(SHAPES))
    y, x = divmod(place, SIDE)
    return float(overlap[place, shape]), SHAPES[shape], size, x, y
