"""From the bytes of a picture to RGB pixels: the one way in which preparation and training do it.

What is not plain RGB becomes it by these rules, whose `VERSION` is part of a dataset's fingerprint:

    turned by EXIF       turned upright
    grey                 three equal channels; of 16 bits the upper eight, rounded
    palette              its colours
    transparent          laid on white
    CMYK                 R = (255 - C)(255 - K) / 255 and likewise, without a colour profile
    animated             its first frame, or refused where the caller wants no animations
    floating point       refused: what is white is not said

A picture that cannot be had is a `PictureError` with a reason of a few fixed words.
"""

import io
import struct
import warnings
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = 1
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is decoded. Others, such as EPS, would start programs or are no formats of photographs."""
TURNED = 0x0112
"""EXIF's tag of how a camera was held."""
NOT_READABLE = (
    OSError,  # Pillow's UnidentifiedImageError too
    ValueError,
    TypeError,
    SyntaxError,
    struct.error,
    zlib.error,
    EOFError,
    IndexError,
    KeyError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
)
"""What decoders raise on bytes that are not what they promise."""


class PictureError(Exception):
    """A picture that cannot be had. `reason` is a few fixed words to count by."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def opened(data: bytes, most_pixels: int, animations: bool = True) -> "Image":
    """The picture in a file's bytes, its size known and its pixels not decoded yet. Raises `PictureError`."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs and odd metadata: what counts is looked at here
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
    except UnidentifiedImageError:
        raise PictureError("no picture of a known format", data[:8].hex()) from None
    except Image.DecompressionBombError as error:
        raise PictureError("too many pixels", str(error)) from None
    except NOT_READABLE as error:
        raise PictureError("broken picture", f"{type(error).__name__}: {error}") from None
    width, height = image.size
    if not width or not height:
        raise PictureError("broken picture", f"{width} x {height} pixels")
    if width * height > most_pixels or max(width, height) >= 1 << 16:
        raise PictureError("too many pixels", f"{width} x {height}")
    if frames > 1 and not animations:
        raise PictureError("animated", f"{frames} frames")
    return image


def as_rgb(image: "Image") -> "Image":
    """The picture upright, in mode RGB. Raises `PictureError` where its pixels cannot be decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            return _flattened(_upright(image))
    except PictureError:
        raise
    except NOT_READABLE as error:
        raise PictureError("broken picture", f"{type(error).__name__}: {error}") from None


def is_plain(image: "Image") -> bool:
    """Whether a picture is RGB or grey as it lies there, with nothing about it that would not be kept."""
    return image.mode in ("RGB", "L") and not image.info.keys() & {
        "exif",
        "transparency",
        "XML:com.adobe.xmp",
    }


def _upright(image: "Image") -> "Image":
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except NOT_READABLE:  # EXIF that cannot be read says nothing, and the pixels are whole
        return image


def _flattened(image: "Image") -> "Image":
    from PIL import Image

    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        return _eight_bits(image).convert("RGB")
    if image.mode == "F":
        raise PictureError("floating point pixels")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        white = Image.new("RGBA", coloured.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, coloured).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: "Image") -> "Image":
    """A grey picture of 16 bits, 65,535 being white, as one of eight."""
    import numpy as np
    from PIL import Image

    values = np.clip(np.asarray(image, np.int64), 0, 65_535)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
