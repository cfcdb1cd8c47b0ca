"""The recipe's `model.experts` section: MLPs of which each token goes through a few."""

from typing import Annotated, ClassVar, NamedTuple, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from data_prep.contract.settings import Settings

LEAST_CAPACITY = 4
"""Tokens of a sequence that every expert takes, however little the factor leaves it (Mesh-TensorFlow)."""


class Capacity(NamedTuple):
    """Tokens of one sequence that each expert of a layer takes; the others are dropped there."""

    training: int
    evaluation: int


class Experts(Settings):
    later: ClassVar[frozenset[str]] = frozenset(
        {"every", "shared", "capacity_factor", "eval_capacity_factor", "capacity", "jitter", "dropout"}
    )

    count: Annotated[int, Field(ge=2, le=8192)] = 8
    """MLPs of a layer, each feed_forward_size wide; tensor-parallel ranks hold a part of them each."""
    active: Annotated[int, Field(ge=1, le=8192)] = 2
    """How many of them a token goes through: those that the router gives the highest probabilities."""
    every: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Every so manieth layer has experts, counted from the second; the others have one MLP (Switch 2)."""
    shared: Annotated[int, Field(ge=0, le=8192)] = 0
    """As many experts more that every token goes through, side by side and unweighted (DeepSeekMoE)."""
    normalise: bool = True
    """Whether the probabilities of these are made to sum to one (Mixtral, Qwen 3; not OLMoE, not Switch)."""
    balance: float = Field(0.01, ge=0.0)
    """Weight of the loss that is 1 where experts get equally many tokens and grows where they do not."""
    z: float = Field(0.0, ge=0.0)
    """Weight of the mean square of the log of the router's partition function (ST-MoE has 0.001)."""
    capacity_factor: PositiveFloat | None = None
    """Tokens that an expert takes of each sequence in training, over what it gets where all get equally many
    (Switch 1.25); what comes after them is dropped. Null drops nothing."""
    eval_capacity_factor: PositiveFloat | None = None
    """The same in evaluation, of data.sequence_length (Switch 2.0); null is capacity_factor."""
    capacity: PositiveInt | None = None
    """The number of these tokens itself instead, in training and evaluation (folders of transformers)."""
    jitter: float = Field(0.0, ge=0.0, lt=1.0)
    """In training the router's input is multiplied by numbers from 1 - jitter to 1 + jitter (Switch 0.01)."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Dropout probability inside the experts (Switch 0.4 in fine-tuning)."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.active > self.count:
            raise ValueError(f"active {self.active} is more than count {self.count}")
        if self.active == 1 and self.normalise:
            raise ValueError("active 1 needs normalise false: a weight of one would teach the router nothing")
        factors = self.capacity_factor or self.eval_capacity_factor
        if self.capacity and factors:
            raise ValueError(f"capacity {self.capacity} stands for the capacity factors; leave these out")
        if self.eval_capacity_factor and not self.capacity_factor:
            raise ValueError("eval_capacity_factor needs a capacity_factor")
        if (self.capacity or factors) and self.active > 1:
            raise ValueError(f"a capacity is for active 1; with active {self.active} nothing is dropped")
        return self

    def capacities(self, length: int, longest: int) -> Capacity | None:
        """Of a stack whose sequences have `length` tokens in training; None where nothing is dropped.

        In evaluation all stacks have that of `longest` tokens, so that it is one number, as transformers has.
        """
        if self.capacity:
            return Capacity(self.capacity, self.capacity)
        if self.capacity_factor is None:
            return None
        evaluation = self.eval_capacity_factor or self.capacity_factor
        return Capacity(self._room(length, self.capacity_factor), self._room(longest, evaluation))

    def _room(self, length: int, factor: float) -> int:
        return max(LEAST_CAPACITY, int(length * factor / self.count))

    def in_layer(self, layer: int) -> bool:
        """Whether a layer of a stack has experts: with every 2 those of numbers 1, 3, 5, counted from 0."""
        return self.every == 1 or layer % self.every == 1
