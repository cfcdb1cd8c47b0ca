"""What an agent is trained with, and the ids of all that it reads and says (Gato; Reed et al. 2022)."""

from functools import cached_property
from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from data_prep.contract.settings import Settings
from pipeline.config.optimizer import OptimizerConfig

BINS = 1024
"""Of continuous values; discrete ones are below it, too."""
INTERVALS = 128
"""Of a picture's height and width, in which patches have places."""


class AgentConfig(OptimizerConfig):
    """Training on episodes, texts and pictures with captions, each a share of the sequences."""

    episodes_weight: PositiveFloat = 1.0
    """Share of the sequences that are of episodes, relative to the other weights."""
    texts_weight: PositiveFloat = 1.0
    """That of texts."""
    pictures_weight: PositiveFloat = 1.0
    """That of pictures with their captions, where the stage names `pictures`."""
    prompted: float = Field(0.25, ge=0.0, le=1.0)
    """Share of the sequences of episodes that begin with a part of another episode of the same task."""
    patch_size: PositiveInt = 16
    """Side of a patch of a picture in pixels."""
    patch_channels: int = Field(64, ge=2, le=4096, multiple_of=2)
    """Width of the residual block that embeds a patch."""


class Controls(Settings):
    """What a task shows and takes."""

    name: str = Field(min_length=1)
    """The environment's, such as CartPole-v1."""
    observations: int = Field(ge=1, le=1 << 16)
    """Numbers of an observation."""
    choices: int | None = Field(None, ge=2, le=BINS)
    """Actions to choose one of; null has continuous ones."""
    low: list[float] = Field(default_factory=list)
    """The least of each number of a continuous action."""
    high: list[float] = Field(default_factory=list)
    """The largest."""

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if (self.choices is None) != bool(self.low) or len(self.low) != len(self.high):
            raise ValueError(f"{self.name}: actions are choices, or continuous with as many low as high")
        if any(high <= low for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"{self.name}: an action whose highest value is not above its lowest")
        return self

    @property
    def actions(self) -> int:
        """Tokens of an action."""
        return len(self.low) or 1

    @property
    def width(self) -> int:
        """Tokens of a step: what is seen, the separator, what is done."""
        return self.observations + 1 + self.actions


class Interface(Settings):
    """The ids of an agent, and its tasks: a file of its run.

    Pieces of texts have theirs, and discrete values are the same first 1,024 ids; behind both are the bins of
    continuous values, and the separator of what is seen from what is done.
    """

    tasks: list[Controls] = Field(min_length=1)
    """In the order in which their episodes take turns."""
    pieces: PositiveInt
    """Of the tokenizer."""
    image_size: PositiveInt | None = None
    """Side of a picture in pixels; null reads none."""
    patch_size: PositiveInt = 16
    patch_channels: PositiveInt = 64

    @model_validator(mode="after")
    def _cut_into_patches(self) -> Self:
        if self.image_size and self.image_size % self.patch_size:
            raise ValueError(
                f"patch_size {self.patch_size} does not cut pictures of {self.image_size} pixels evenly"
            )
        return self

    @cached_property
    def values(self) -> int:
        """The id of the first bin."""
        return max(self.pieces, BINS)

    @property
    def separator(self) -> int:
        """The id between what is seen and what is done."""
        return self.values + BINS

    @property
    def size(self) -> int:
        """All ids."""
        return self.separator + 1

    @property
    def side(self) -> int:
        """Patches along a side of a picture."""
        return self.image_size // self.patch_size if self.image_size else 0

    @property
    def patches(self) -> int:
        """Patches of a picture."""
        return self.side**2

    @property
    def places(self) -> int:
        """Rows of the table of positions in a step: that of all actions, then one for each thing seen."""
        return 1 + max(self.patches, *(task.observations for task in self.tasks))
