"""RandAugment: a few operations in a row, each drawn from fourteen (Cubuk et al. 2019).

Of magnitude m of 10 a picture is rotated by 3 m degrees, sheared by 0.03 m, shifted by 0.045 m of its side,
its colour, contrast, brightness and sharpness changed by the factor 1 + 0.09 m, solarised above 256 - 25.6 m,
or left with 8 - 0.4 m bits; what has a direction goes the other way half of the time. What comes into a
picture from beside it is grey.
"""

from collections.abc import Callable, Sequence

from PIL import Image, ImageEnhance, ImageOps

from pipeline.config.view import RandAugmentConfig

FILL = (128, 128, 128)
Operation = Callable[[Image.Image, float], Image.Image]
"""A picture and a magnitude from -1 to 1."""


def rand_augment(image: Image.Image, settings: RandAugmentConfig, numbers: Sequence[float]) -> Image.Image:
    """An RGB picture after `layers` operations; `numbers` has two in [0, 1) for each: which, and its sign."""
    names = [*OPERATIONS]
    for which, sign in zip(numbers[::2], numbers[1::2], strict=True):
        strength = settings.magnitude / 10 * (1 if sign < 0.5 else -1)
        image = OPERATIONS[names[int(which * len(names))]](image, strength)
    return image


def _moved(image: Image.Image, matrix: tuple[float, float, float, float, float, float]) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=FILL
    )


def _rotated(image: Image.Image, strength: float) -> Image.Image:
    return image.rotate(30 * strength, Image.Resampling.BILINEAR, fillcolor=FILL)


def _enhanced(by: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    return lambda image, strength: by(image).enhance(1 + 0.9 * strength)


OPERATIONS: dict[str, Operation] = {
    "identity": lambda image, strength: image,
    "auto_contrast": lambda image, strength: ImageOps.autocontrast(image),
    "equalize": lambda image, strength: ImageOps.equalize(image),
    "rotate": _rotated,
    "solarize": lambda image, strength: ImageOps.solarize(image, int(256 - 256 * abs(strength))),
    "posterize": lambda image, strength: ImageOps.posterize(image, 8 - round(4 * abs(strength))),
    "colour": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "shear_x": lambda image, strength: _moved(image, (1, 0.3 * strength, 0, 0, 1, 0)),
    "shear_y": lambda image, strength: _moved(image, (1, 0, 0, 0.3 * strength, 1, 0)),
    "shift_x": lambda image, strength: _moved(image, (1, 0, 0.45 * strength * image.width, 0, 1, 0)),
    "shift_y": lambda image, strength: _moved(image, (1, 0, 0, 0, 1, 0.45 * strength * image.height)),
}
