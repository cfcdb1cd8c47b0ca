"""The key `diffusion` of a recipe's `objective` section: how pictures are noised, what a denoiser says."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from data_prep.contract.settings import Settings
from pipeline.config.model import Width

Condition = Literal["none", "label", "text"]


class DiffusionConfig(Settings):
    schedule: Literal["linear", "cosine"] = "cosine"
    """How much noise each step adds: evenly rising variances (Ho et al. 2020), or a cosine of what is left of
    the picture (Nichol and Dhariwal 2021)."""
    steps: int = Field(1000, ge=2, le=100_000)
    """Steps from a picture to noise."""
    first_variance: PositiveFloat = 1e-4
    """Variance of the noise of a linear schedule's first step."""
    last_variance: PositiveFloat = 0.02
    """That of its last step."""
    predicts: Literal["noise", "sample", "velocity"] = "noise"
    """What a denoiser says: the noise, the picture, or a noise - s x (Salimans and Ho 2022), where the
    noised picture is a x + s noise."""
    condition: Condition = "none"
    """What it is told: nothing, a picture's class, or the states of a frozen text encoder for its caption."""
    dropped: float = Field(0.1, ge=0.0, lt=1.0)
    """Share of the pictures that are learned from without their class or caption, which guidance needs."""
    classes: int | None = Field(None, ge=1, le=1 << 24)
    """Classes that it is told of; null takes those of the dataset."""
    text_size: Width | None = None
    """Width of the text encoder's states; null takes that of the stage's `text`."""
    low_size: int | None = Field(None, ge=1, le=1 << 14)
    """Side of the small picture that a super-resolution stage is shown; null shows none."""
    low_steps: int = Field(200, ge=1, le=100_000)
    """Steps of noise that such a picture has at most in training; the number is drawn, and told."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.first_variance > self.last_variance or self.last_variance >= 1:
            raise ValueError(
                f"first_variance {self.first_variance} and last_variance {self.last_variance}: variances "
                "rise and stay below 1"
            )
        if self.low_size and self.low_steps > self.steps:
            raise ValueError(f"low_steps {self.low_steps} is more than steps {self.steps}")
        return self
