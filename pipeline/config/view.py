"""The part of a recipe's `data` section that says how stored pictures become what a model is given."""

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from data_prep.contract.settings import Settings

Filter = Literal["bicubic", "bilinear", "lanczos", "box", "nearest"]


class RandAugmentConfig(Settings):
    """Random operations on a picture (Cubuk et al. 2019): shears, rotations, shifts, colours, contrast."""

    layers: PositiveInt = 2
    """Operations in a row, each drawn anew."""
    magnitude: float = Field(9.0, ge=0.0, le=10.0)
    """How far they go, of 10."""


class ViewConfig(Settings):
    """Training draws a crop, a flip and the rest from (seed, epoch, sample); validation crops the centre."""

    size: PositiveInt | None = None
    """Side of the square in pixels; null takes the model's."""
    crop: Literal["random_resized", "random", "centre"] = "random_resized"
    """A random part brought to the size (Inception's), a random place in the picture, or its centre."""
    scale: tuple[float, float] = (0.08, 1.0)
    """Share of the picture's area that a random_resized crop takes, from and to; MAE's are 0.2 and 1."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Width by height of that crop, from and to."""
    padding: int = Field(0, ge=0)
    """Black pixels around the picture before a crop of kind random, as for CIFAR."""
    flip: float = Field(0.5, ge=0.0, le=1.0)
    """Probability that left and right change places."""
    randaugment: RandAugmentConfig | None = None
    erase: float = Field(0.0, ge=0.0, le=1.0)
    """Probability that a rectangle becomes noise (Zhong et al. 2017)."""
    erase_area: tuple[float, float] = (0.02, 1 / 3)
    """Share of the picture that it takes, from and to."""
    filter: Filter = "bicubic"
    """How pixels are resampled."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in ("scale", "ratio", "erase_area"):
            low, high = getattr(self, name)
            if not 0 < low <= high or (name != "ratio" and high > 1):
                raise ValueError(
                    f"{name} is [{low:g}, {high:g}]; the smaller number first is expected, above 0"
                    + ("" if name == "ratio" else " and no more than 1")
                )
        return self
