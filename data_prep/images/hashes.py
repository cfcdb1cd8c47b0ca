"""What duplicate pictures are found by: a hash of the pixels, a perceptual hash, and colours in a few fields.

The perceptual hash: the picture in grey at 32 x 32, its discrete cosine transform, of that the 8 x 8 lowest
frequencies, a bit for each that says whether it is above their median (Zauner, "Implementation and
benchmarking of perceptual image hash functions", 2010, section 3.2.1). It does not see colours, which is
what those are for.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.documents import hash128

SIDE, LOW, FIELDS = 32, 8, 8
FLAT = 4.0
"""Standard deviation of grey levels below which a picture has no pattern that a hash could tell."""

SIGNAL = np.dtype(
    [
        ("id", "<u8"),
        ("high", "<u8"),
        ("low", "<u8"),
        ("perceptual", "<u8"),
        ("flat", "?"),
        ("held_out", "?"),
        ("pixels", "<u4"),  # of the picture as it came, by which the largest of equals is chosen
        ("colours", "u1", (3 * FIELDS * FIELDS,)),
    ]
)


def signal(image: Image.Image, document: int, held_out: bool, pixels: int) -> NDArray[Any]:
    """The row (SIGNAL) of an RGB picture."""
    found = np.zeros((), SIGNAL)
    digest = hash128(image.width, image.height, image.tobytes())
    found["id"], found["held_out"], found["pixels"] = document, held_out, min(pixels, 2**32 - 1)
    found["high"], found["low"] = np.frombuffer(digest, "<u8")
    grey = grey_levels(image)
    found["perceptual"], found["flat"] = perceptual_hash(grey), grey.std() < FLAT
    small = image.resize((FIELDS, FIELDS), Image.Resampling.BOX)
    found["colours"] = np.asarray(small, np.uint8).ravel()
    return found


def grey_levels(image: Image.Image) -> NDArray[np.float64]:
    """[32, 32] of a picture."""
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(small, np.float64)


def perceptual_hash(grey: NDArray[np.float64]) -> int:
    """64 bits: the one of the lowest frequency last."""
    transform = cosines()
    low = (transform @ grey @ transform.T)[:LOW, :LOW]
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "little")


@cache
def cosines() -> NDArray[np.float64]:
    """[32, 32] the matrix of the discrete cosine transform, type II, with unit rows."""
    k, n = np.mgrid[:SIDE, :SIDE]
    found: NDArray[np.float64] = np.cos(np.pi * (2 * n + 1) * k / (2 * SIDE)) * np.sqrt(2 / SIDE)
    found[0] /= np.sqrt(2)
    return found
