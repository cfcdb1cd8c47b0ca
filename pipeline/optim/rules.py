"""The registry of optimizers: which rule updates a parameter, and which states the rule keeps.

Torch's fused AdamW is the one optimizer that is not made of these rules (`pipeline.optim.build`); its states
go by the same names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.optim import adafactor, adamw, lamb, muon
from pipeline.optim.pieces import Share, Update

Shapes = dict[str, tuple[int, ...]]


def none(shape: Sequence[int]) -> Shapes:
    """No states of shapes of their own."""
    return {}


@dataclass(frozen=True)
class Rule:
    """How some parameters are updated."""

    update: Callable[[Sequence[Share], Update], None]
    """Updates shares in place."""
    states: tuple[str, ...]
    """States that have a number for each of the parameter's, and are cut as it is."""
    whole_states: Callable[[Sequence[int]], Shapes] = none
    """Small states by name, for a whole parameter's shape; every rank has all of them."""


RULES: dict[str, Rule] = {
    "adamw": Rule(adamw.update, adamw.STATES),
    "lamb": Rule(lamb.update, lamb.STATES),
    "adafactor": Rule(adafactor.update_matrices, (), adafactor.factors),
    "adafactor_vector": Rule(adafactor.update_others, adafactor.STATES),
    "muon": Rule(muon.update, muon.STATES),
}


def rule_of(optimizer: str, dimensions: int, in_block: bool) -> str:
    """The name of the rule by which an optimizer updates a parameter of so many dimensions."""
    matrix = dimensions == 2
    if optimizer == "adafactor":
        return "adafactor" if matrix else "adafactor_vector"
    if optimizer == "muon":
        return "muon" if matrix and in_block else "adamw"
    if optimizer == "lamb":
        return "lamb" if dimensions > 1 else "adamw"
    return "adamw"
