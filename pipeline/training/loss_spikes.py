"""Steps whose numbers are wrong: losses and gradients that are not finite, and losses that leap.

Pure functions of what the ranks have in common, so that all decide alike:

    judge(loss, norm, recent, optim)     what a step's numbers are
    batch_of(step, skipped)              which batch of the endless order a step trains on

A loss is a spike where it lies more than `spike_threshold` standard deviations above the median of the last
`spike_window` losses; the deviation is estimated by 1.4826 MAD, the median absolute deviation's value for a
normal distribution (Rousseeuw and Croux, 1993), so that earlier spikes do not raise the bar. Going back past
a spike and leaving out its batches is what PaLM did (Chowdhery et al., 2022, section 5.1).
"""

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal, NamedTuple

from pipeline.checkpoints.loop_state import LoopState, Range
from pipeline.config import OptimizerConfig

NORMAL = 1.4826
LEAST = 1e-3
"""A deviation counts as at least this share of the median: equal losses have none."""


class Judgement(NamedTuple):
    """What a step's numbers are, and for a spike what they were measured by."""

    kind: Literal["fine", "nonfinite", "spike"]
    median: float = math.nan
    limit: float = math.nan


def judge(loss: float, norm: float, recent: Sequence[float], optim: OptimizerConfig) -> Judgement:
    """What a step's loss and gradient norm are, after the `recent` losses.

    In float16 a gradient that overflows is part of the method: DeepSpeed leaves the step out and lowers its
    loss scale, and ends the run itself where it cannot.

    >>> judge(9.0, 1.0, [5.0, 5.1, 5.2], OptimizerConfig(spike_window=3)).kind
    'spike'
    """
    if not (math.isfinite(loss) and (math.isfinite(norm) or optim.precision == "float16")):
        return Judgement("nonfinite")
    if optim.spike_threshold is None or len(recent) < optim.spike_window:
        return Judgement("fine")
    middle = median(recent)
    deviation = max(NORMAL * median(abs(one - middle) for one in recent), LEAST * abs(middle))
    limit = middle + optim.spike_threshold * deviation
    return Judgement("spike" if loss > limit else "fine", middle, limit)


def remember(state: LoopState, loss: float, judgement: Judgement, window: int) -> LoopState:
    """The state after a step that stays."""
    if judgement.kind == "nonfinite":
        return state.model_copy(update={"nonfinite": state.nonfinite + 1})
    return state.model_copy(update={"recent": [*state.recent, loss][-window:], "nonfinite": 0})


def batch_of(step: int, skipped: Sequence[Range]) -> int:
    """The batch that step `step` trains on: the step-th, from 0, of those that are not left out.

    >>> [batch_of(step, [(2, 4)]) for step in range(4)]
    [0, 1, 4, 5]
    """
    for start, stop in skipped:
        if step < start:
            break
        step += stop - start
    return step


def with_range(skipped: Sequence[Range], new: Range) -> list[Range]:
    """Ranges in order, those that touch made one.

    >>> with_range([(2, 4), (9, 10)], (4, 5))
    [(2, 5), (9, 10)]
    """
    merged: list[Range] = []
    for start, stop in sorted([*skipped, new]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged
