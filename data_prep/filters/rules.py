"""The rules: a signal, a bound, and the name under which a rejected document is kept.

A rule is data. Its signal is computed once and stored as a column; its bound comes from the recipe and is
compared afterwards, so that a changed threshold reads the columns alone.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_prep.config import FilterConfig


@dataclass(frozen=True)
class Rule:
    """A document is rejected where `signal` is below `least` or above `most`."""

    name: str
    signal: str
    least: float | None = None
    most: float | None = None

    def rejects(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the values break the rule; a value that is missing (NaN) breaks none."""
        rejected = np.zeros(len(values), bool)
        if self.least is not None:
            rejected |= values < self.least
        if self.most is not None:
            rejected |= values > self.most
        return rejected


def rules(config: FilterConfig) -> list[Rule]:
    """The recipe's rules in the order in which they reject."""
    return [
        Rule("too short", "characters", least=config.min_characters),
        Rule("too long", "characters", most=config.max_characters),
    ]


def judge(signals: pa.Table, order: list[Rule]) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """For each document the index of the first rule that it breaks (-1: none) and the value it has there."""
    verdict = np.full(signals.num_rows, -1, np.int16)
    value = np.zeros(signals.num_rows)
    for index, rule in enumerate(order):
        values = signals[rule.signal].to_numpy().astype(np.float64)
        hit = (verdict < 0) & rule.rejects(values)
        verdict[hit], value[hit] = index, values[hit]
    return verdict, value
