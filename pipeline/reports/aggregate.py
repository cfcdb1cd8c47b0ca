"""All tasks of an evaluation together, over the models' size: a line for each number of examples.

As GPT-3's figure 3.8 has it (Brown et al. 2020): the mean accuracy over tasks. Beside it the same with each
task's accuracy counted from chance, (a - chance) / (1 - chance), so that what guesses get counts nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_prep.contract.report import Line, Lines, Part, Text
from pipeline.reports.tasks import SHARES

SIZES = 2
"""Fewest sizes of models that make a line."""
DRAWS, SEED = 1000, 0
"""Drawings of the tasks that the intervals of means rest on."""


class Mean(NamedTuple):
    """Of scores over tasks, with the interval of drawn tasks."""

    value: float
    low: float
    high: float


def aggregate(name: str, results: Mapping[str, Any]) -> Iterator[Part]:
    """Two charts, where models of several sizes were asked; `name` is of their files."""
    runs = {run: found for run, found in results.get("runs", {}).items() if found.get("parameters")}
    sizes = sorted({int(found["parameters"]) for found in runs.values()})
    groups = tasks_by_shots(results, runs)
    if len(sizes) < SIZES or not groups:
        return
    yield Text(
        "The mean accuracy over all tasks that every model was asked with the same number of examples, and "
        "the same counted from chance: 0 is a guess, 1 is all right. Intervals are of tasks drawn anew."
    )
    for title, label, centred in (("mean", "accuracy", False), ("centred", "accuracy above chance", True)):
        lines = [
            _line(f"{shots} examples ({len(tasks)} tasks)", runs, sizes, shots, tasks, results, centred)
            for shots, tasks in groups.items()
        ]
        yield Lines(f"{name}_{title}_over_size", "parameters", label, lines, log_x=True)


def tasks_by_shots(results: Mapping[str, Any], runs: Mapping[str, Any]) -> dict[int, list[tuple[str, str]]]:
    """For each number of examples the suites and tasks that every run was asked with it."""
    found: dict[int, list[tuple[str, str]]] = {}
    for suite, about in results.get("suites", {}).items():
        for task, what in about["tasks"].items():
            if what["score"] not in SHARES:
                continue
            asked = [
                {one["shots"] for one in run.get("suites", {}).get(suite, {}).get(task, [])}
                for run in runs.values()
            ]
            for shots in sorted(set.intersection(*asked)) if asked else []:
                found.setdefault(shots, []).append((suite, task))
    return dict(sorted(found.items()))


def _line(
    label: str,
    runs: Mapping[str, Any],
    sizes: Sequence[int],
    shots: int,
    tasks: Sequence[tuple[str, str]],
    results: Mapping[str, Any],
    centred: bool,
) -> Line:
    means = []
    for size in sizes:
        of_size = [run for run in runs.values() if run["parameters"] == size]
        scores = [
            float(np.mean([_score(run, results, suite, task, shots, centred) for run in of_size]))
            for suite, task in tasks
        ]
        means.append(mean_of(scores))
    return Line(
        label,
        [float(size) for size in sizes],
        [one.value for one in means],
        [one.low for one in means],
        [one.high for one in means],
    )


def _score(
    run: Mapping[str, Any], results: Mapping[str, Any], suite: str, task: str, shots: int, centred: bool
) -> float:
    value = next(float(one["value"]) for one in run["suites"][suite][task] if one["shots"] == shots)
    chance = float(results["suites"][suite]["tasks"][task]["chance"] or 0.0) if centred else 0.0
    return (value - chance) / (1.0 - chance) if chance < 1.0 else 0.0


def mean_of(scores: Sequence[float]) -> Mean:
    """The mean, and what 95 % of the means of as many tasks drawn with replacement lie within."""
    random = np.random.default_rng(SEED)
    values = np.array(scores)
    drawn = values[random.integers(len(values), size=(DRAWS, len(values)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Mean(float(values.mean()), float(low), float(high))
