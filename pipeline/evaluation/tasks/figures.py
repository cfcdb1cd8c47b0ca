"""From records to figures: a score with its interval, by task and number of examples; two runs compared."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.evaluation.intervals import wilson
from pipeline.evaluation.tasks.overlap import bleu
from pipeline.evaluation.tasks.records import Record
from pipeline.evaluation.tasks.suites import LoadedTask

RESAMPLES = 1000
"""Drawings of the questions that the interval of a score that is no share rests on."""
BINARY = ("choices", "greedy", "exact_match")
"""Scores that are right or wrong."""


def figures(task: LoadedTask, records: Sequence[Record]) -> list[dict[str, Any]]:
    """For each number of examples the mean over questions and draws, its interval, and what did not fit."""
    found = []
    for shots in sorted({one["shots"] for one in records}):
        some = [one for one in records if one["shots"] == shots]
        draws = [
            [one for one in some if one["draw"] == draw] for draw in sorted({one["draw"] for one in some})
        ]
        values = [_value(task, one) for one in draws]
        low, high = _interval(task, draws)
        found.append(
            {
                "shots": shots,
                "draws": len(draws),
                "n": len(draws[0]),
                "value": float(np.mean(values)),
                "spread": float(np.std(values, ddof=1)) if len(values) > 1 else None,
                "low": low,
                "high": high,
                "others": _others(task, some),
                "examples_dropped": sum(shots - one["shown"] for one in some),
                "questions_cut": sum(one["cut"] for one in some),
                "generated_tokens": sum(one["generated_tokens"] for one in some),
            }
        )
    return found


def _value(task: LoadedTask, records: Sequence[Record]) -> float:
    if task.task.score == "loss":
        return _sum(records, "nats") / _sum(records, "tokens")
    if task.task.score == "bleu":
        return bleu([one["answer"] for one in records], [one["references"] for one in records])
    return float(np.mean([one["score"] for one in records]))


def _interval(task: LoadedTask, draws: Sequence[Sequence[Record]]) -> tuple[float, float]:
    """Wilson's for shares; else that of resampled questions, each with all of its draws."""
    count = len(draws[0])
    if task.task.score in BINARY:
        right = float(np.mean([[one["score"] for one in draw] for draw in draws])) * count
        return wilson(right, count)
    random = np.random.default_rng(0)
    weights = random.multinomial(count, [1 / count] * count, size=RESAMPLES)  # [R, N]
    if task.task.score == "loss":
        nats, tokens = (np.array([one["scores"][name] for one in draws[0]]) for name in ("nats", "tokens"))
        means = weights @ nats / (weights @ tokens)
    else:
        means = weights @ np.mean([[one["score"] for one in draw] for draw in draws], axis=0) / count
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _others(task: LoadedTask, records: Sequence[Record]) -> dict[str, float]:
    """The same by other measures."""
    if task.task.score in ("loss", "greedy"):
        nats = _sum(records, "nats")
        return {
            "perplexity": math.exp(min(nats / _sum(records, "tokens"), 700.0)),
            "bits_per_byte": nats / math.log(2) / _sum(records, "bytes"),
        }
    names = list(dict.fromkeys(name for one in records for name in one["scores"]))
    return {name: float(np.mean([one["scores"].get(name, 0.0) for one in records])) for name in names}


def _sum(records: Sequence[Record], name: str) -> float:
    return float(sum(one["scores"][name] for one in records))


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> dict[str, float]:
    """Whether one of two runs gets more of the same questions right (McNemar 1947), by the exact test.

    `only_first` and `only_second` count the questions that one of them alone gets right; `p` is the chance of
    a difference as large where both are equally good.
    """
    pairs = list(zip(first, second, strict=True))
    one, other = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    return {"only_first": one, "only_second": other, "p": binomial(min(one, other), one + other)}


def binomial(few: int, total: int) -> float:
    """The chance that of so many fair coins at most `few` or at least as many less fall on one side."""
    tail = sum(math.comb(total, k) for k in range(few + 1)) / 2**total if total else 1.0
    return min(1.0, 2 * tail)


def compare(records: Sequence[Record], first: str, second: str) -> dict[tuple[str, int], Mapping[str, float]]:
    """McNemar's test of two runs for each task and number of examples, on questions that both were asked."""
    right: dict[str, dict[tuple[str, int, int, int], bool]] = {first: {}, second: {}}
    for one in records:
        if one["run"] in right:
            key = (one["task"], one["shots"], one["draw"], one["number"])
            right[one["run"]][key] = one["score"] >= 1
    both = [key for key in right[first] if key in right[second]]
    groups = sorted({key[:2] for key in both})
    return {
        group: mcnemar(
            [right[first][key] for key in both if key[:2] == group],
            [right[second][key] for key in both if key[:2] == group],
        )
        for group in groups
    }
