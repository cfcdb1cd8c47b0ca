"""Self-consistency: several drawn ways to an answer, of which the most frequent counts (Wang et al. 2022)."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from pipeline.evaluation.chains.asking import Ask, Drawing, Solved, Way


def self_consistency(way: Way, paths: int) -> Way:
    """The answer of most of so many drawn paths; the chains of all of them are kept."""

    def vote(questions: Sequence[str], ask: Ask) -> list[Solved]:
        drawn = [way(questions, Drawing(ask, path)) for path in range(paths)]
        return [_together(list(some)) for some in zip(*drawn, strict=True)]

    return vote


def _together(paths: list[Solved]) -> Solved:
    votes = tuple(one.answer for one in paths)
    return Solved(
        majority(votes),
        "\n---\n".join(one.chain for one in paths),
        sum(one.prompt_tokens for one in paths),
        sum(one.tokens for one in paths),
        votes,
        any(one.cut for one in paths),
    )


def majority(votes: Sequence[str]) -> str:
    """The most frequent answer, the first seen of several; no answer is no vote.

    >>> majority(["", "7", "8", "8", "7"])
    '7'
    """
    counts = Counter(one for one in votes if one)
    return max(counts, key=lambda one: counts[one]) if counts else ""


def accuracy_by_paths(
    votes: Sequence[Sequence[str]],
    right: Sequence[Sequence[str]],
    counts: Sequence[int],
    seed: int,
    subsets: int = 100,
) -> dict[int, tuple[float, float, float]]:
    """For each number of paths the share of right votes: its mean over subsets of the paths drawn, with the
    2.5 % and the 97.5 % quantile over them.
    """
    found = {}
    for count in counts:
        shares = []
        for number in range(subsets):
            random = np.random.default_rng([seed, count, number])
            chosen = random.choice(len(votes[0]), size=count, replace=False)
            taken = [majority([some[int(i)] for i in sorted(chosen)]) for some in votes]
            shares.append(np.mean([one in good for one, good in zip(taken, right, strict=True)]))
        low, high = np.quantile(shares, [0.025, 0.975])
        found[count] = (float(np.mean(shares)), float(low), float(high))
    return found
