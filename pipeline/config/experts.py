"""The recipe's `model.experts` section: MLPs of which each token goes through a few."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from data_prep.contract.settings import Settings


class Experts(Settings):
    count: Annotated[int, Field(ge=2, le=8192)] = 8
    """MLPs of a layer, each feed_forward_size wide; tensor-parallel ranks hold a part of them each."""
    active: Annotated[int, Field(ge=1, le=8192)] = 2
    """How many of them a token goes through: those that the router gives the highest probabilities."""
    normalise: bool = True
    """Whether the probabilities of these are made to sum to one (Mixtral, Qwen 3; not OLMoE)."""
    balance: float = Field(0.01, ge=0.0)
    """Weight of the loss that is 1 where experts get equally many tokens and grows where they do not."""
    z: float = Field(0.0, ge=0.0)
    """Weight of the mean square of the log of the router's partition function (ST-MoE has 0.001)."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.active > self.count:
            raise ValueError(f"active {self.active} is more than count {self.count}")
        return self
