"""Ending a training when a measure of its validation gets no better, with the weights that had the best.

What is known of it is in every checkpoint, so a run that goes on decides as one that was never interrupted.
"""

from pathlib import Path

from pipeline.checkpoints import files
from pipeline.checkpoints.format import complete
from pipeline.checkpoints.loop_state import LoopState


def looked_at(state: LoopState, value: float, step: int) -> LoopState:
    """The state after a validation; the larger the value the better, and one that is no number never is.

    >>> looked_at(LoopState(best=0.8, best_step=10), 0.8, 20).stale
    1
    """
    if value == value and (state.best is None or value > state.best):
        return state.model_copy(update={"best": value, "best_step": step, "stale": 0})
    return state.model_copy(update={"stale": state.stale + 1})


def drop_after(run: Path, step: int) -> None:
    """Remove the checkpoints of later steps, so that the newest one is that of `step`."""
    for folder in complete(run):
        if int(folder.name.split("-")[1]) > step:
            files.remove(folder)
