"""The best size for a budget of FLOPs, by a published law or by a law that `bloomery scale` has written."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.contract.reading import printable, read_json
from data_prep.contract.settings import InputError
from pipeline.scaling import optimal
from pipeline.scaling.hoffmann import PUBLISHED, Law

PETAFLOP_DAY = 8.64e19
REFITTED = Law(477.842, 2143.864, 1.817235, 0.347313, 0.367183)
"""Besiroglu et al. 2024: the same points, fitted to the minimum."""
LAWS = {"hoffmann": PUBLISHED, "besiroglu": REFITTED, "kaplan": None}
"""Published laws by name; Kaplan et al. 2020, section 6.1, has none of the loss that is used here."""
KAPLAN = (1.3e9, 0.73)


@dataclass(frozen=True)
class Best:
    """For one budget."""

    law: str
    flops: float
    parameters: float
    tokens: float
    loss: float | None
    """In nats a token, where the law says one."""


def best_for(law: str, flops: float) -> Best:
    """By the name of a published law, or by a file; InputError where there is no such law."""
    if not 0 < flops < math.inf:
        raise InputError(f"a budget is a number of FLOPs above 0, such as 1e21, not {flops:g}")
    if law == "kaplan":
        factor, power = KAPLAN
        return _split(law, flops, factor * (flops / PETAFLOP_DAY) ** power)
    published = LAWS.get(law)
    return _by_surface(law, published, flops) if published else _by_file(Path(law), flops)


def loss_of(law: str, parameters: float, tokens: float) -> float | None:
    """What the law says of a training; None where it says no loss."""
    found = LAWS[law] if law in LAWS else _surface(_laws(Path(law)))
    return float(found.loss(np.array(parameters), np.array(tokens))) if found else None


def _by_surface(name: str, law: Law, flops: float) -> Best:
    [found] = optimal.best(law.theta()[None], flops)
    return Best(name, flops, *(float(one) for one in found))


def _split(name: str, flops: float, parameters: float) -> Best:
    return Best(name, flops, parameters, flops / 6 / parameters, None)


def _by_file(path: Path, flops: float) -> Best:
    laws = _laws(path)
    surface = _surface(laws)
    if surface:
        return _by_surface(str(path), surface, flops)
    for one in laws:
        if one.keys() >= {"k_N", "a"}:
            return _split(str(path), flops, one["k_N"] * flops ** one["a"])
    raise InputError(
        f"{path}: no law of it says the best size for a budget; form hoffmann, envelope or isoflop does"
    )


def _surface(laws: list[dict[str, float]]) -> Law | None:
    for one in laws:
        if one.keys() >= {"A", "B", "E", "alpha", "beta"}:
            return Law(one["A"], one["B"], one["E"], one["alpha"], one["beta"])
    return None


def _laws(path: Path) -> list[dict[str, float]]:
    """The coefficients of each law in a scaling.json."""
    if not path.is_file():
        names = ", ".join(LAWS)
        raise InputError(
            f"--law {printable(str(path))}: there is neither a law of that name ({names}) nor such a file"
        )
    content = read_json(path)
    try:
        return [_values(law["coefficients"]) for law in content["laws"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: no laws as `bloomery scale --out` writes them in scaling.json") from error


def _values(coefficients: Any) -> dict[str, float]:
    return {name: float(one["value"]) for name, one in coefficients.items()}
