"""What ends a training early: the best validation so far, and how many after it were no better."""

import math
from pathlib import Path

from pipeline.checkpoints import files
from pipeline.checkpoints.loop_state import LoopState
from pipeline.training.early_stopping import drop_after, looked_at


def test_the_best_step_stays_until_a_better_one() -> None:
    state = LoopState()
    seen = []
    for step, value in ((10, 0.5), (20, 0.4), (30, 0.6), (40, 0.6), (50, math.nan)):
        state = looked_at(state, value, step)
        seen.append((state.best_step, state.stale))
    assert seen == [(10, 0), (10, 1), (30, 0), (30, 1), (30, 2)]
    assert state.best == 0.6


def test_the_checkpoint_of_the_best_step_outlives_newer_ones(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40):
        (tmp_path / "checkpoints" / f"step-{step:06d}").mkdir(parents=True)
    files.prune(tmp_path, keep=1, every=None, best=20)
    assert [one.name for one in files.complete(tmp_path)] == ["step-000020", "step-000040"]
    drop_after(tmp_path, 20)
    assert [one.name for one in files.complete(tmp_path)] == ["step-000020"]
