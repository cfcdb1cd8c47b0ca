"""Playing tasks of gymnasium, many episodes in step with one another, by a policy."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.settings import InputError
from pipeline.config.agent import Controls
from pipeline.data.agent.episodes import Episodes
from pipeline.evaluation.control.experts import EXPERTS, Expert
from pipeline.objectives.draws import combine, key, uniform

Policy = Callable[[list[int], NDArray[Any]], NDArray[Any]]
"""Numbers of episodes [B] and what each shows [B, D], to what is done in each [B, A]."""
RANDOM, SLIP = 220, 221  # what a number is drawn for
LONGEST = 100_000
"""Steps of an episode, where an environment knows no end of its own."""


def check_installed() -> None:
    """`InputError` where gymnasium is not."""
    if find_spec("gymnasium") is None:
        raise InputError(
            "gymnasium, which has the control tasks, is not installed: pip install 'bloomery[control]'"
        )


def environment(name: str) -> Any:
    """A task. `InputError` where it cannot be had or no expert plays it."""
    check_installed()
    import gymnasium

    if name not in EXPERTS:
        raise InputError(f"{name}: no expert plays it; one of {', '.join(EXPERTS)} is expected")
    try:
        return gymnasium.make(name)
    except gymnasium.error.Error as error:
        raise InputError(f"{name}: gymnasium does not have it ({str(error)[:200]})") from None


def controls(name: str) -> Controls:
    """What a task shows and takes."""
    made = environment(name)
    (observations,) = made.observation_space.shape
    action = made.action_space
    if hasattr(action, "n"):
        return Controls(name=name, observations=observations, choices=int(action.n))
    return Controls(name=name, observations=observations, low=action.low.tolist(), high=action.high.tolist())


def seeds(seed: int, name: str, count: int) -> list[int]:
    """What the episodes of a purpose begin from."""
    start = key(seed, *name.encode())
    return [key(start, number) >> 33 for number in range(count)]


def play(task: Controls, starts: Sequence[int], policy: Policy, taken: Policy | None = None) -> Episodes:
    """An episode from each seed, all in step, with what the policy does in every step.

    `taken` says what is done instead; what is kept is the policy's.
    """
    made = [environment(task.name) for _ in starts]
    seen = [one.reset(seed=start)[0] for one, start in zip(made, starts, strict=True)]
    observations: list[list[Any]] = [[] for _ in made]
    actions: list[list[Any]] = [[] for _ in made]
    returns, running = np.zeros(len(made)), list(range(len(made)))
    for _ in range(LONGEST):
        if not running:
            break
        shown = np.array([seen[number] for number in running], np.float32)
        wanted = policy(running, shown)
        done = wanted if taken is None else taken(running, wanted)
        on = []
        for number, before, meant, action in zip(running, shown, wanted, done, strict=True):
            observations[number].append(before)
            actions[number].append(meant)
            given = int(action[0]) if task.choices is not None else action
            seen[number], reward, ended, cut, _ = made[number].step(given)
            returns[number] += reward
            if not (ended or cut):
                on.append(number)
        running = on
    for one in made:
        one.close()
    return Episodes(
        np.array([row for rows in observations for row in rows], np.float32),
        np.array([row for rows in actions for row in rows], np.int32 if task.choices else np.float32),
        np.array([len(rows) for rows in actions], np.int64),
        returns,
    )


def by_expert(task: Controls) -> Policy:
    """The rule of a task."""
    rule: Expert = EXPERTS[task.name]
    return lambda numbers, shown: np.stack([rule(one) for one in shown])


class AtRandom:
    """Actions drawn evenly, of which each is a pure function of seed, episode and step."""

    def __init__(self, task: Controls, seed: int, share: float = 1.0) -> None:
        """`share` of the steps have such an action when it is laid over another policy."""
        self.task, self.seed, self.share = task, key(seed, *task.name.encode()), share
        self.steps: dict[int, int] = {}

    def _drawn(self, numbers: list[int]) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """[B] a number that decides whether, and [B, A] the actions."""
        turns = np.array([self.steps.get(number, 0) for number in numbers])
        self.steps |= {number: self.steps.get(number, 0) + 1 for number in numbers}
        keys = combine(self.seed, RANDOM, np.array(numbers), turns)
        drawn = uniform(keys, self.task.actions, RANDOM)
        if self.task.choices is not None:
            found: NDArray[Any] = (drawn * self.task.choices).astype(np.int32)
        else:
            low, high = np.array(self.task.low), np.array(self.task.high)
            found = (low + drawn * (high - low)).astype(np.float32)
        return uniform(keys, 1, SLIP)[:, 0], found

    def __call__(self, numbers: list[int], shown: NDArray[Any]) -> NDArray[Any]:
        """As a policy."""
        del shown
        return self._drawn(numbers)[1]

    def over(self, numbers: list[int], wanted: NDArray[Any]) -> NDArray[Any]:
        """What is done where another one wants something."""
        whether, actions = self._drawn(numbers)
        found: NDArray[Any] = np.where((whether < self.share)[:, None], actions, wanted)
        return found
