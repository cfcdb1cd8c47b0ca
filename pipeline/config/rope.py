"""The recipe's `model.rope_scaling` section: how rotary positions are stretched past what was trained on."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from data_prep.contract.settings import Settings


class RopeScaling(Settings):
    kind: Literal["linear", "dynamic", "llama3", "yarn"]
    """Every angle divided, the base raised with the length, or low frequencies alone stretched."""
    factor: float = Field(gt=0.0)
    """How much longer texts may be than those first trained on."""
    original_positions: PositiveInt | None = None
    """The length first trained on, in tokens; all but linear need it."""
    low_frequency: PositiveFloat = 1.0
    """llama3: turns within the original length below which a pair is stretched wholly."""
    high_frequency: PositiveFloat = 4.0
    """llama3: turns within the original length above which a pair stays as it is."""
    beta_slow: PositiveFloat = 1.0
    """yarn: turns within the original length below which a pair is stretched wholly."""
    beta_fast: PositiveFloat = 32.0
    """yarn: turns within the original length above which a pair stays as it is."""
    attention_factor: PositiveFloat = 1.0
    """yarn: factor on sines and cosines, and so its square on attention scores."""
    truncate: bool = True
    """yarn: whether the pairs between which stretching grows are counted in whole numbers."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.kind != "linear" and self.original_positions is None:
            raise ValueError(f"kind {self.kind} needs original_positions, the length first trained on")
        if self.kind == "llama3" and self.low_frequency >= self.high_frequency:
            raise ValueError(f"low_frequency {self.low_frequency} must be below high_frequency")
        return self
