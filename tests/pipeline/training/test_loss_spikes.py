"""What counts as a spike, and which batches a run trains on once some are left out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checkpoints.loop_state import LoopState
from pipeline.config import OptimizerConfig
from pipeline.training.loss_spikes import batch_of, judge, remember, with_range

OPTIM = OptimizerConfig(spike_threshold=8.0, spike_window=100)
LOSSES = (5.0 + 0.1 * np.random.default_rng(0).standard_normal(100)).tolist()


def test_the_limit_is_eight_deviations_of_normal_losses() -> None:
    """The estimate from 100 samples is within a fifth of the deviation they were drawn with."""
    found = judge(5.1, 1.0, LOSSES, OPTIM)
    assert found.kind == "fine"
    assert found.limit == pytest.approx(5.8, abs=0.16)
    assert judge(found.limit + 1e-9, 1.0, LOSSES, OPTIM).kind == "spike"
    assert judge(found.limit, 1.0, LOSSES, OPTIM).kind == "fine"


def test_earlier_spikes_do_not_raise_the_bar() -> None:
    """With a tenth of the losses ten times as high, a mean and its deviation would be at 9.5 and 13.5."""
    spiked = [*LOSSES[:90], *[50.0] * 10]
    assert judge(7.0, 1.0, spiked, OPTIM).kind == "spike"


def test_no_spike_before_the_window_is_full_or_where_none_is_looked_for() -> None:
    assert judge(500.0, 1.0, LOSSES[:99], OPTIM).kind == "fine"
    assert judge(500.0, 1.0, LOSSES, OptimizerConfig(spike_threshold=None)).kind == "fine"


def test_equal_losses_have_room_for_rounding() -> None:
    assert judge(5.001, 1.0, [5.0] * 100, OPTIM).kind == "fine"
    assert judge(5.05, 1.0, [5.0] * 100, OPTIM).kind == "spike"


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (5.0, math.inf), (-math.inf, 1.0)])
def test_what_is_not_finite(loss: float, norm: float) -> None:
    judgement = judge(loss, norm, [], OPTIM)
    assert judgement.kind == "nonfinite"
    memory = remember(LoopState(recent=[5.0], nonfinite=1), loss, judgement, 100)
    assert (memory.recent, memory.nonfinite) == ([5.0], 2)
    after = remember(memory, 4.0, judge(4.0, 1.0, memory.recent, OPTIM), 100)
    assert (after.recent, after.nonfinite) == ([5.0, 4.0], 0)


def test_an_overflow_of_float16_is_deepspeeds_business() -> None:
    optim = OptimizerConfig(precision="float16")
    assert judge(5.0, math.inf, [], optim).kind == "fine"
    assert judge(math.nan, math.inf, [], optim).kind == "nonfinite"


@given(st.sets(st.integers(0, 40), max_size=12))
def test_batches_are_those_that_are_not_left_out(left_out: set[int]) -> None:
    ranges: list[tuple[int, int]] = []
    for batch in left_out:
        ranges = with_range(ranges, (batch, batch + 1))
    expected = [batch for batch in range(60) if batch not in left_out]
    assert [batch_of(step, ranges) for step in range(len(expected))] == expected
