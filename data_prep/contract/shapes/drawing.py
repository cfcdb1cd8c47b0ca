"""A scene to pixels, with no soft edges: what a pixel shows is one thing or the background."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.shapes.scene import COLOURS, SIDE, SIZES, Scene

BACKGROUND = (30, 30, 30)


def draw(scene: Scene) -> NDArray[np.uint8]:
    """The picture [32, 32, 3]: rows from the top, RGB."""
    picture = np.full((SIDE, SIDE, 3), BACKGROUND, np.uint8)
    for thing in scene.things:
        mask = template(thing.shape, thing.size)
        radius = len(mask) // 2
        rows, columns = np.nonzero(mask)
        picture[rows + thing.y - radius, columns + thing.x - radius] = COLOURS[thing.colour]
    return picture


@cache
def template(shape: str, size: str) -> NDArray[np.bool_]:
    """The pixels of a shape [2 radius + 1, 2 radius + 1], its centre in the middle."""
    radius = SIZES[size]
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    distance = np.hypot(x, y)
    arm = radius // 3
    masks = {
        "circle": distance <= radius + 0.3,
        "square": np.maximum(abs(x), abs(y)) <= radius - radius // 4,
        "triangle": (abs(x) <= (y + radius) / 2) & (y <= radius - 1),
        "cross": np.minimum(abs(x), abs(y)) <= arm,
        "ring": (distance <= radius + 0.3) & (distance > radius * 0.6),
        "diamond": abs(x) + abs(y) <= radius,
    }
    found: NDArray[np.bool_] = masks[shape]
    return found
