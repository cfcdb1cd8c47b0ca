"""A picture's bytes as they came to the picture that is stored."""

import io
from dataclasses import dataclass
from typing import Any

from PIL import Image

from data_prep.contract.pixels import NOT_READABLE, VERSION, PictureError, as_rgb, is_plain, opened
from data_prep.images.config import PixelsConfig

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}
SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
LOSSLESS = ("PNG", "GIF", "BMP", "TIFF", "PPM")


@dataclass(frozen=True)
class Stored:
    """A picture that is stored."""

    data: bytes
    suffix: str
    image: Image.Image
    """Its pixels before they were encoded."""
    width: int
    """Of the picture as it came, upright; `height` likewise."""
    height: int


def stored(data: bytes, settings: PixelsConfig) -> Stored:
    """The picture that is stored of one that came. Raises `PictureError` with a reason where there is
    none."""
    if len(data) > settings.most_bytes:
        raise PictureError("too many bytes", f"{len(data):,}")
    image = opened(data, settings.most_pixels, settings.animations == "first_frame")
    kind, plain = image.format or "", is_plain(image)
    upright = as_rgb(image)
    fitted = fit(upright, settings)
    wanted = _format(kind, settings)
    if plain and fitted is upright and settings.format in ("keep", wanted.lower()) and kind == wanted:
        return Stored(data, SUFFIXES[kind], fitted, *upright.size)
    return Stored(encoded(fitted, wanted, settings.quality), SUFFIXES[wanted], fitted, *upright.size)


def _format(kind: str, settings: PixelsConfig) -> str:
    if settings.format != "keep":
        return settings.format.upper()
    if kind in SUFFIXES:
        return kind
    return "PNG" if kind in LOSSLESS else "JPEG"


def encoded(image: Image.Image, kind: str, quality: int) -> bytes:
    """The file of an RGB picture, without anything but its pixels."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {} if kind == "PNG" else {"quality": quality}
    if kind == "JPEG":
        options["subsampling"] = 0 if quality >= 90 else 2
    bare = Image.frombytes("RGB", image.size, image.tobytes())
    try:
        bare.save(buffer, kind, **options)
    except NOT_READABLE as error:  # WebP takes no side above 16,383 pixels
        raise PictureError("cannot be encoded", f"{type(error).__name__}: {error}") from None
    return buffer.getvalue()


def fit(image: Image.Image, settings: PixelsConfig) -> Image.Image:
    """An RGB picture brought to the size; itself where that changes nothing."""
    size, resample = settings.size, FILTERS[settings.filter]
    if size is None or (image.size == (size, size)):
        return image
    width, height = image.size
    if settings.fit == "squash":
        return image.resize((size, size), resample)
    if settings.fit == "pad":
        scale = size / max(width, height)
        inner = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), resample)
        padded = Image.new("RGB", (size, size))
        padded.paste(inner, ((size - inner.width) // 2, (size - inner.height) // 2))
        return padded
    short = min(width, height)
    if settings.fit == "short_side":
        if short <= size:
            return image
        return image.resize(
            (max(size, round(width * size / short)), max(size, round(height * size / short))), resample
        )
    left, upper = (width - short) / 2, (height - short) / 2
    return image.resize((size, size), resample, (left, upper, left + short, upper + short))


def handling(settings: PixelsConfig) -> dict[str, Any]:
    """What the manifest says of how pixels were handled."""
    return {"version": VERSION, **settings.model_dump(mode="json")}
