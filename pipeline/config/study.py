"""The recipe's `study` section: a grid of trainings from which a scaling law is fitted.

study:
  sizes: [2x32, 2x48, 3x64, 3x80, 4x112]      # layers x width, or a range of parameter counts
  budgets: [1.0e12, 2.0e12, 4.0e12, 8.0e12]   # of each size
  largest: [{size: 4x96, budget: 3.2e13}]     # predicted before they are trained
"""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, StringConstraints, model_validator

from data_prep.contract.settings import Settings

SHAPE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,6})")
Shape = Annotated[str, StringConstraints(pattern=rf"^{SHAPE.pattern}$")]
"""Layers x width, such as 12x768."""
Rule = Literal["deepseek", "kaplan", "marin"]


class SizeRange(Settings):
    """Sizes evenly spaced in the log of their parameters."""

    smallest: PositiveFloat
    """Parameters of the smallest model, embeddings included."""
    largest: PositiveFloat
    """Parameters of the largest."""
    count: int = Field(5, ge=3, le=100)
    """How many sizes."""
    aspect: PositiveFloat = 64.0
    """Width / layers. Kaplan et al. 2020, section 3.1: between 10 and 200 the loss hardly depends on it."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.smallest >= self.largest:
            raise ValueError(f"smallest {self.smallest:g} is not below largest {self.largest:g}")
        return self


class Largest(Settings):
    """One of the trainings that are predicted first."""

    size: Shape
    """Layers x width."""
    budget: PositiveFloat
    """In the unit of `budgets`."""


class StudyConfig(Settings):
    sizes: list[Shape] | SizeRange
    """Models as layers x width, or a range of parameter counts."""
    budgets: list[PositiveFloat] = Field(min_length=1, max_length=100)
    """What every size is trained for, each as a run of its own whose learning rate ends there."""
    budget_in: Literal["flops", "tokens"] = "flops"
    """Unit of budgets: training FLOPs, as approach 2 needs them, or tokens read."""
    tokens_per_parameter: tuple[PositiveFloat, PositiveFloat] | None = None
    """Sizes and budgets whose tokens over parameters lie outside are left out: a large model that a small
    budget hardly trains says nothing of the law. null has every size with every budget."""
    largest: list[Largest] = Field(default_factory=list)
    """Trainings beyond the grid, predicted from it before they begin."""
    head_size: PositiveInt | None = None
    """Width of an attention head; null is that of the recipe's model."""
    batch: PositiveInt | Literal["deepseek"] = "deepseek"
    """Sequences in a batch, or DeepSeek's rule of compute, rounded to a power of two."""
    learning_rate: Rule | dict[PositiveInt, PositiveFloat] = "deepseek"
    """Peak rate by a published rule, or by width from a sweep, interpolated between widths in logs."""
    warmup_share: float = Field(0.05, ge=0.0, lt=1.0)
    """Of a run's steps: a fixed number would be most of a short run."""
    minimum_share: float = Field(0.1, ge=0.0, le=1.0)
    """Learning rate at the last step over the peak."""
    curve_points: int = Field(10, ge=3, le=1000)
    """Validations in a run: the points of its curve."""
    repeats: int = Field(0, ge=0, le=20)
    """Further seeds of the middle training, which say how much of a loss is chance."""
    resamples: int = Field(400, ge=20, le=100_000)
    """Fits that each interval rests on."""
    side_by_side: PositiveInt | None = None
    """Trainings at once; null is as many as the GPUs have room for, or processors where there are none."""
    data: str | None = None
    """A dataset that is there already, a folder or an address; null prepares the recipe's corpus."""
