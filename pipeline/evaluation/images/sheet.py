"""A sheet of small pictures, for a report to show."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GAP = 2


def sheet(rows: NDArray[np.uint8], path: Path, scale: int) -> None:
    """Rows [R, B, Y, X, 3] of images as one PNG, each pixel `scale` pixels wide."""
    count, images, height, width, _ = rows.shape
    whole = np.full((count * (height + GAP) + GAP, images * (width + GAP) + GAP, 3), 255, np.uint8)
    for row in range(count):
        for place in range(images):
            top, left = GAP + row * (height + GAP), GAP + place * (width + GAP)
            whole[top : top + height, left : left + width] = rows[row, place]
    picture = Image.fromarray(whole)
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    picture.save(path, "PNG")
