"""What the training loop knows beside the engine, and what a checkpoint therefore holds of it."""

from pydantic import Field

from data_prep.contract.settings import Settings

Range = tuple[int, int]
"""Batches from the first on, up to but not with the second."""


class LoopState(Settings):
    """What later decisions depend on; it goes into checkpoints."""

    recent: list[float] = Field(default_factory=list)
    """The last finite losses, as many as the window holds."""
    nonfinite: int = 0
    """How many steps in a row had a loss or gradient that was not finite."""
    skipped: list[Range] = Field(default_factory=list)
    """Batches that the run leaves out, in order and apart."""
    rollbacks: int = 0
    """How often it has gone back past a spike."""
    best: float | None = None
    """The best value so far of the measure that ends the run early; None before the first."""
    best_step: int = 0
    """The step with that value, whose checkpoint stays."""
    stale: int = 0
    """How many validations in a row were no better."""
