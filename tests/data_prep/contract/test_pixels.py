"""From the bytes of a picture to pixels: every kind by its rule, every broken one by a reason."""

import io
import struct
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_prep.contract.pixels import PictureError, as_rgb, is_plain, opened

MOST = 1 << 20


def packed(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    image = as_rgb(opened(data, MOST))
    assert image.mode == "RGB"
    return np.array(image)


def colour(data: bytes) -> list[int]:
    found = pixels(data)
    assert (found == found[0, 0]).all()
    return found[0, 0].tolist()


@pytest.mark.parametrize(
    ("mode", "value", "kind", "wanted"),
    [
        ("RGB", (10, 20, 30), "PNG", [10, 20, 30]),
        ("L", 77, "PNG", [77] * 3),
        ("1", 1, "PNG", [255] * 3),
        ("I;16", 65_535, "PNG", [255] * 3),
        ("I;16", 257 * 100 + 128, "PNG", [100] * 3),
        ("I;16", 257 * 100 + 129, "PNG", [101] * 3),
        ("RGBA", (200, 0, 0, 0), "PNG", [255] * 3),
        ("RGBA", (200, 0, 0, 255), "WEBP", [200, 0, 0]),
        ("LA", (0, 0), "PNG", [255] * 3),
        ("CMYK", (255, 0, 0, 0), "TIFF", [0, 255, 255]),
        ("CMYK", (0, 128, 0, 128), "TIFF", [127, 63, 127]),
    ],
)
def test_colours_of_every_mode(mode: str, value: Any, kind: str, wanted: list[int]) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    found = colour(packed(Image.new(mode, (8, 6), value), kind, **options))
    assert np.abs(np.subtract(found, wanted)).max() <= (1 if mode == "CMYK" else 0)


def test_half_transparent_is_laid_on_white() -> None:
    assert colour(packed(Image.new("RGBA", (4, 4), (0, 0, 0, 51)), "PNG")) == [204] * 3
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    assert colour(packed(palette, "PNG")) == [9, 8, 7]
    assert colour(packed(palette, "PNG", transparency=1)) == [255] * 3


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_turn_that_a_camera_notes_is_undone(turn: int) -> None:
    upright = np.zeros((6, 8, 3), np.uint8)
    upright[0, 0], upright[0, -1] = (255, 0, 0), (0, 255, 0)
    turns = {
        1: lambda one: one,
        2: lambda one: one[:, ::-1],
        3: lambda one: one[::-1, ::-1],
        4: lambda one: one[::-1],
        5: lambda one: one.transpose(1, 0, 2),
        6: lambda one: np.rot90(one, 1),
        7: lambda one: one[::-1, ::-1].transpose(1, 0, 2),
        8: lambda one: np.rot90(one, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = turn
    data = packed(Image.fromarray(np.ascontiguousarray(turns[turn](upright))), "PNG", exif=exif)
    np.testing.assert_array_equal(pixels(data), upright)
    assert not is_plain(opened(data, MOST))


def animation() -> bytes:
    frames = [Image.new("RGB", (5, 5), (80 * number, 9, 9)) for number in range(3)]
    return packed(frames[0], "GIF", save_all=True, append_images=frames[1:])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x\x9c") + chunk(b"IEND", b"")


WHOLE = packed(Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)), "JPEG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no picture of a known format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture of a known format"),
        (WHOLE[: len(WHOLE) // 2], "broken picture"),
        (WHOLE[:3], "no picture of a known format"),
        (packed(Image.new("RGB", (40, 40), (1, 2, 3)), "PNG")[:-30], "broken picture"),
        (bomb(60_000, 60_000), "too many pixels"),
        (bomb(2_000_000, 2), "too many pixels"),
        (bomb(3, 3), "broken picture"),
        (packed(Image.new("F", (4, 4), 0.5), "TIFF"), "floating point pixels"),
    ],
)
def test_what_is_no_whole_picture_has_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(PictureError) as caught:
        as_rgb(opened(data, MOST))
    assert caught.value.reason == reason


def test_of_an_animation_the_first_frame_or_none() -> None:
    assert pixels(animation()).shape == (5, 5, 3)
    with pytest.raises(PictureError, match="animated"):
        opened(animation(), MOST, animations=False)


def test_damaged_bytes_end_in_pixels_or_in_a_reason() -> None:
    noise = np.random.default_rng(1)
    for original in (WHOLE, animation(), packed(Image.new("RGBA", (20, 20), (1, 2, 3, 4)), "WEBP")):
        for _ in range(60):
            data = bytearray(original)
            for place in noise.integers(0, len(data), 4):
                data[place] = noise.integers(0, 256)
            with suppress(PictureError):
                assert pixels(bytes(data)).dtype == np.uint8
