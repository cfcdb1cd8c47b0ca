"""How often to save, and what failures cost (Young 1974; Daly 2006).

A job of many GPUs fails when any of them does. What was computed since the last checkpoint is lost, then the
job starts again.
"""

import math
from dataclasses import dataclass

GPU_HOURS_PER_FAILURE = 50_000.0
"""Llama 3's pretraining on 16,384 H100 was interrupted unexpectedly 419 times in 54 days (Dubey et al. 2024,
section 3.3.4): once in 50,700 hours of a GPU."""
RESTART_SECONDS = 600.0
"""From a failure until the job trains again: found, started, read. An assumption."""
HOST_COPY = 20e9
"""Bytes a second from a GPU to its host, the part of a save for which the step waits: a PCIe 4.0 x16 link."""


@dataclass(frozen=True)
class Saving:
    """When to save, and what that leaves of the time."""

    interval: float
    """Seconds between checkpoints."""
    failures_per_day: float
    useful: float
    """Share of the time that goes into steps that count."""


def saving(stall: float, between_failures: float, restart: float, shortest: float = 0.0) -> Saving:
    """The interval that loses least; all in seconds.

    `stall` is what a step waits for a checkpoint, `shortest` how long one takes to be written behind it.

    >>> saving(60, 86_400, 600).interval  # close to Young's sqrt(2 x 60 x 86400) = 3220
    3179.8...
    """
    interval = max(daly(stall, between_failures), shortest)
    return Saving(interval, 86_400 / between_failures, useful(interval, stall, between_failures, restart))


def daly(stall: float, between_failures: float) -> float:
    """Daly's equation 37: computing between two saves for the shortest expected time."""
    if stall >= 2 * between_failures:
        return between_failures
    share = stall / (2 * between_failures)
    young = math.sqrt(2 * stall * between_failures)
    return young * (1 + math.sqrt(share) / 3 + share / 9) - stall


def useful(interval: float, stall: float, between_failures: float, restart: float) -> float:
    """Daly's equation 20: computed time over expected time, with failures that come at random."""
    ahead = (interval + stall) / between_failures
    if ahead > 500:
        return 0.0
    return interval / (between_failures * math.exp(restart / between_failures) * math.expm1(ahead))
