"""Values and steps as tokens, beside the literal formulas of Reed et al. 2022, section 2.1."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.config.agent import BINS, Controls, Interface
from pipeline.objectives.agent.steps import (
    action_ids,
    action_tokens,
    actions_of,
    learned,
    places,
    seen_tokens,
    step_tokens,
)
from pipeline.objectives.agent.values import bins, centres, squashed, unsquashed
from tests.pipeline.agent.small import TASKS, interface

HALF = 1 / BINS
"""Half the width of a bin of [-1, 1]."""


@given(st.floats(-1e6, 1e6))
def test_the_mu_law_is_the_published_formula(x: float) -> None:
    wanted = math.copysign(math.log(abs(x) * 100 + 1) / math.log(256 * 100 + 1), x) if x else 0.0
    assert squashed(np.array([x]))[0] == pytest.approx(wanted, abs=1e-12)


@given(st.floats(-256, 256))
def test_a_value_comes_back_within_half_a_bin(x: float) -> None:
    """In what the mu-law makes of it; and its inverse is exact."""
    values = np.array([x])
    found = bins(squashed(values))
    assert 0 <= found[0] < 1024
    assert abs(centres(found) - squashed(values))[0] <= HALF + 1e-12
    assert squashed(unsquashed(centres(found)))[0] == pytest.approx(centres(found)[0], abs=1e-12)
    assert unsquashed(squashed(values))[0] == pytest.approx(x, rel=1e-9, abs=1e-12)


def test_bins_are_equal_and_ends_are_cut() -> None:
    edges = np.linspace(-1, 1, BINS + 1)
    inside = np.random.default_rng(0).uniform(-1, 1, 2000)
    assert (bins(inside) == np.searchsorted(edges, inside, side="right") - 1).all()
    assert bins(np.array([-7.0, -1.0, 1.0, 7.0])).tolist() == [0, 0, 1023, 1023]
    assert bins(squashed(np.array([-1e9, 0.0, 1e9]))).tolist() == [0, 512, 1023]


def test_a_step_is_what_is_seen_a_separator_and_what_is_done() -> None:
    cart, car = TASKS
    ids = interface(pieces=32_000)
    assert (ids.values, ids.separator, ids.size) == (32_000, 33_024, 33_025)
    seen = np.array([[0.0, 1.0, -1.0, 300.0]])
    tokens = step_tokens(seen, np.array([[1]]), cart, ids)
    # ln(101) / ln(25601) = 0.45472, which is in bin (1.45472 x 512) = 744; and 0.54528 x 512 = 279
    assert tokens.tolist() == [[32_512, 32_744, 32_279, 33_023, 33_024, 1]]
    assert places(cart).tolist() == [1, 2, 3, 4, -1, 0]
    assert learned(cart).tolist() == [0, 0, 0, 0, 0, 1]
    assert (action_ids(cart, ids), action_ids(car, ids)) == (slice(0, 2), slice(32_000, 33_024))
    assert ids.places == 5
    assert seen_tokens(seen, ids).tolist() == tokens[:, :5].tolist()


def test_actions_are_bins_of_their_range_without_the_mu_law() -> None:
    task = Controls(name="two", observations=1, low=[-2.0, 0.0], high=[2.0, 10.0])
    ids = Interface(tasks=[task], pieces=40)
    assert ids.values == 1024  # discrete values have the ids below
    actions = np.array([[-2.0, 10.0], [1.0, 5.0], [0.01, 2.5]])
    tokens = action_tokens(actions, task, ids)
    assert (tokens - 1024).tolist() == [[0, 1023], [768, 512], [514, 256]]
    back = actions_of(tokens, task, ids)
    assert (abs(back - actions) <= np.array([4, 10]) / 2 / BINS + 1e-6).all()
    assert places(task).tolist() == [1, -1, 0, 0]
    choices = np.array([[0], [1]])
    assert (actions_of(action_tokens(choices, TASKS[0], ids), TASKS[0], ids) == choices).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"observations": 1},
        {"observations": 1, "choices": 2, "low": [0.0], "high": [1.0]},
        {"observations": 1, "low": [0.0], "high": []},
        {"observations": 1, "low": [1.0], "high": [1.0]},
        {"observations": 1, "choices": 1025},
    ],
)
def test_what_is_no_task_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Controls.model_validate({"name": "wrong"} | wrong)
