"""A law that says the loss of any run from its columns: how it is fitted, what it predicts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.scaling.minimize import Array

Columns = Mapping[str, Array]
"""Values [R] by the names of a table's columns."""


@dataclass(frozen=True)
class Fitted:
    theta: Array
    """Coefficients [P], in the form in which they were fitted."""
    objective: float
    """Sum of the Huber terms of the log losses."""
    converged: bool


@dataclass(frozen=True)
class Surface:
    name: str
    coefficients: tuple[str, ...]
    """Names of what `shown` gives."""
    free: int
    """How many of them the fit may choose."""
    shown: Callable[[Array], Array]
    """Coefficients [K, P] as papers print them."""
    fit: Callable[[Columns], Fitted]
    resampled: Callable[[Columns, Array, Array], Array]
    """Columns, coefficients [P] of all runs, how often each run was drawn [K, R] -> coefficients [K, P]."""
    loss: Callable[[Array, Columns], Array]
    """Coefficients [K, P] and columns [R] -> losses [K, R]."""
