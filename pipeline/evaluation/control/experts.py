"""Experts by rules for classic control tasks, one function a task: an observation in, an action out.

CartPole-v1                  push to where a weighted sum of the pole's angle and speed and the cart's leans
MountainCarContinuous-v0     push in the direction of motion, which adds energy at every step
Pendulum-v1                  add energy until there is enough to stand, then hold by angle and speed

How good each is stands in the report of the stage that plays them.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Expert = Callable[[NDArray[Any]], NDArray[Any]]


def balance(seen: NDArray[Any]) -> NDArray[Any]:
    """Of CartPole: [position, speed, angle, angular speed] to 0 or 1."""
    position, speed, angle, turning = seen.tolist()
    return np.array([angle + 0.4 * turning + 0.05 * speed + 0.02 * position > 0], np.int32)


def climb(seen: NDArray[Any]) -> NDArray[Any]:
    """Of MountainCarContinuous: [position, speed] to a force."""
    return np.array([1.0 if seen[1] >= 0 else -1.0], np.float32)


def swing_up(seen: NDArray[Any]) -> NDArray[Any]:
    """Of Pendulum: [cosine, sine, angular speed] to a torque of at most 2.

    A rod of mass and length 1 has the energy w^2 / 6 + 5 (cos a - 1), 0 where it stands still upright.
    """
    cosine, sine, turning = seen.tolist()
    angle, energy = math.atan2(sine, cosine), turning**2 / 6 + 5 * (cosine - 1)
    torque = -10 * angle - 3 * turning if abs(angle) < 0.5 else -math.copysign(2.0, turning * energy)
    return np.clip(np.array([torque], np.float32), -2, 2)


EXPERTS: dict[str, Expert] = {
    "CartPole-v1": balance,
    "MountainCarContinuous-v0": climb,
    "Pendulum-v1": swing_up,
}
