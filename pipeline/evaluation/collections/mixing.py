"""How much of each dataset is drawn, and what counts as unseen: pure functions."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def mixing_rates(sizes: Mapping[str, int], cap: int, temperature: float = 1.0) -> dict[str, float]:
    """min(examples, cap) ^ (1 / temperature) of each dataset, normalised (Raffel et al. 2020, section 3.5.2).

    >>> mixing_rates({"a": 100, "b": 300, "c": 9000}, 400)
    {'a': 0.125, 'b': 0.375, 'c': 0.5}
    """
    rates = {name: min(size, cap) ** (1 / temperature) for name, size in sizes.items()}
    whole = sum(rates.values())
    return {name: rate / whole for name, rate in rates.items()}


def seen(
    clusters: Mapping[str, Collection[str]], held_out: Collection[str], most: int | None = None
) -> list[str]:
    """The datasets to train on: those of which *no* cluster is held out, of the first `most` other clusters.

    >>> seen({"a": ["reading"], "b": ["reading", "sense"], "c": ["sense"]}, ["sense"])
    ['a']
    """
    others = dict.fromkeys(one for some in clusters.values() for one in some if one not in held_out)
    taken = set(list(others)[:most])
    return [name for name, some in clusters.items() if taken.issuperset(some)]


def unseen(clusters: Mapping[str, Collection[str]], trained: Collection[str]) -> list[str]:
    """The datasets none of whose clusters has one that was trained on (Wei et al. 2022, section 2.2).

    >>> unseen({"a": ["reading"], "b": ["reading", "sense"], "c": ["sense"]}, ["a"])
    ['c']
    """
    known = {one for name in trained for one in clusters[name]}
    return [name for name, some in clusters.items() if known.isdisjoint(some)]


def drawn(
    sizes: Mapping[str, int], rates: Mapping[str, float], count: int, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Numbers of the examples of each dataset, `count` in all by the rates: each all before any comes again.

    >>> {name: len(some) for name, some in drawn({"a": 9, "b": 2}, {"a": 0.5, "b": 0.5}, 8, 0).items()}
    {'a': 4, 'b': 4}
    """
    found = {}
    for place, (name, wanted) in enumerate(shares(rates, count).items()):
        draws = np.random.default_rng([seed, place])
        rounds = [draws.permutation(sizes[name]) for _ in range(-(-wanted // sizes[name]))]
        found[name] = np.concatenate([np.zeros(0, np.int64), *rounds])[:wanted]
    return found


def shares(rates: Mapping[str, float], count: int) -> dict[str, int]:
    """Whole numbers with this sum, nearest to the rates by the largest remainders.

    >>> shares({"a": 0.5, "b": 0.25, "c": 0.25}, 5)
    {'a': 3, 'b': 1, 'c': 1}
    """
    exact = {name: rate * count for name, rate in rates.items()}
    found = {name: int(one) for name, one in exact.items()}
    left: Sequence[str] = sorted(exact, key=lambda name: found[name] - exact[name])
    for name in left[: count - sum(found.values())]:
        found[name] += 1
    return found
