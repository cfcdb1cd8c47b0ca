"""Steps of a task as tokens: what is seen, the separator, what is done.

Of CartPole, whose observations are four numbers and whose actions are 0 and 1, a step is

    tokens  o1 o2 o3 o4  |  a
    places   1  2  3  4 -1  0       of the table of positions in a step; -1 for none
    learned  0  0  0  0  0  1
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.agent import BINS, Controls, Interface
from pipeline.objectives.agent.values import bins, centres, squashed

Tokens = NDArray[np.int64]
NOWHERE = -1
"""The place of what is no part of a step's observations and actions."""


def seen_tokens(observations: NDArray[Any], interface: Interface) -> Tokens:
    """[T, D + 1] what is seen in each step, and the separator."""
    seen = interface.values + bins(squashed(observations))
    return np.pad(seen, ((0, 0), (0, 1)), constant_values=interface.separator)


def step_tokens(
    observations: NDArray[Any], actions: NDArray[Any], task: Controls, interface: Interface
) -> Tokens:
    """[T, W] whole steps."""
    return np.concatenate((seen_tokens(observations, interface), action_tokens(actions, task, interface)), 1)


def action_tokens(actions: NDArray[Any], task: Controls, interface: Interface) -> Tokens:
    """[T, A] of actions [T, A]: a choice is its own number, what is continuous a bin of its range."""
    if task.choices is not None:
        return actions.astype(np.int64)
    low, high = np.array(task.low), np.array(task.high)
    return interface.values + bins((actions.astype(np.float64) - low) / (high - low) * 2 - 1)


def actions_of(tokens: Tokens, task: Controls, interface: Interface) -> NDArray[Any]:
    """Actions [T, A] that tokens stand for: choices as int64, numbers as float32."""
    if task.choices is not None:
        return tokens
    low, high = np.array(task.low), np.array(task.high)
    between = (centres(tokens - interface.values) + 1) / 2
    return (low + between * (high - low)).astype(np.float32)


def action_ids(task: Controls, interface: Interface) -> slice:
    """The ids that a token of an action can be."""
    if task.choices is not None:
        return slice(0, task.choices)
    return slice(interface.values, interface.values + BINS)


def places(task: Controls) -> Tokens:
    """[W] where in the table of positions each token of a step is: all of an action share the first row."""
    return np.array([*range(1, task.observations + 1), NOWHERE, *[0] * task.actions])


def learned(task: Controls) -> NDArray[np.float32]:
    """[W] 1 at the tokens of actions."""
    return (places(task) == 0).astype(np.float32)
