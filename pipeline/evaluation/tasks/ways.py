"""Several ways of reasoning on the same questions: each task once for every way; what the ways are worth.

A task of a suite becomes tasks called `TASK: WAY`, which are asked and kept as any others are. Two ways on
the same questions are compared by McNemar's test; one that votes has an accuracy for each number of paths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field, NonNegativeInt, ValidationError

from data_prep.contract.problems import first_problem
from data_prep.contract.receipt import fingerprint
from data_prep.contract.settings import InputError
from pipeline.evaluation.chains.voting import accuracy_by_paths
from pipeline.evaluation.intervals import wilson
from pipeline.evaluation.tasks.extraction import same
from pipeline.evaluation.tasks.figures import mcnemar
from pipeline.evaluation.tasks.records import Record
from pipeline.evaluation.tasks.settings import Chains, Task
from pipeline.evaluation.tasks.suites import LoadedTask, Suite

SHOWN = 3
"""Right and wrong chains of each way and task that are shown."""


class WaySettings(Chains):
    """A way of reasoning (`Chains`), and what is asked of it."""

    shots: NonNegativeInt = 0
    """Examples before each question, the same for all of them."""
    tasks: list[str] = Field(default_factory=list)
    """The tasks it is asked; empty is all."""
    against: list[str] = Field(default_factory=list)
    """The ways that it is compared with."""


def by_way(suite: Suite, ways: Mapping[str, WaySettings]) -> list[tuple[str, str, LoadedTask]]:
    """Every task of a suite in every way that it is asked, with the names of both.

    `InputError` names a way that does not go with a task, or a name that is of neither.
    """
    names = [one.task.task for one in suite.tasks]
    for name, way in ways.items():
        unknown = [one for one in way.tasks if one not in names] or [
            one for one in way.against if one not in ways
        ]
        if unknown:
            raise InputError(
                f"ways.{name}: there is no {unknown[0]}; tasks are {', '.join(names)}, "
                f"ways are {', '.join(ways)}"
            )
    return [
        (one.task.task, name, _in_way(one, name, way))
        for one in suite.tasks
        for name, way in ways.items()
        if not way.tasks or one.task.task in way.tasks
    ]


def _in_way(loaded: LoadedTask, name: str, way: WaySettings) -> LoadedTask:
    chain = {key: value for key, value in way.model_dump().items() if key in Chains.model_fields}
    few = loaded.task.few_shot.model_dump() | {"shots": [way.shots], "take": "first"}
    named = {"task": f"{loaded.task.task}: {name}", "chain": chain, "few_shot": few, "score": "exact_match"}
    try:
        task = Task.model_validate(loaded.task.model_dump() | named)
    except ValidationError as error:
        raise InputError(f"ways.{name}: {loaded.task.task}: {first_problem(error).message}") from None
    if way.shots > len(loaded.pool):
        raise InputError(
            f"ways.{name}.shots {way.shots} is more than the {len(loaded.pool)} examples of "
            f"{loaded.task.task}"
        )
    identity = fingerprint(loaded.identity, chain, way.shots)
    return replace(loaded, task=task, identity=identity)


def worth(task: LoadedTask, records: Sequence[Record], seed: int) -> dict[str, Any]:
    """What one way is worth on one task: its accuracy, what it costs, and how that grows with paths."""
    right = sum(one["score"] for one in records)
    low, high = wilson(right, len(records))
    found: dict[str, Any] = {
        "n": len(records),
        "share": right / len(records),
        "low": low,
        "high": high,
        "prompt_tokens": _mean(records, "prompt_tokens"),
        "generated_tokens": _mean(records, "generated_tokens"),
        "cut": sum(one["cut"] for one in records),
        "right": [one["score"] >= 1 for one in records],
        "examples": [*_some(records, right=True), *_some(records, right=False)],
    }
    paths = len(records[0]["votes"])
    if paths:
        found["paths"] = accuracy_by_paths(
            [[_meant(task, one, vote) for vote in one["votes"]] for one in records],
            [one["references"][:1] for one in records],
            counts_to(paths),
            seed,
        )
    return found


def counts_to(paths: int) -> list[int]:
    """Numbers of paths to look at: 1, 2, 5, and then always twice as many, up to all.

    >>> counts_to(16)
    [1, 2, 5, 10, 16]
    """
    found, more = [], [1, 2]
    while more[0] < paths:
        found.append(more.pop(0))
        more = more or [max(5, 2 * found[-1])]
    return [*found, paths]


def _some(records: Sequence[Record], right: bool) -> list[dict[str, Any]]:
    kept = ("prompt", "chain", "answer", "references", "score")
    return [{key: one[key] for key in kept} for one in records if (one["score"] >= 1) == right][:SHOWN]


def _meant(task: LoadedTask, record: Record, vote: str) -> str:
    """The first reference where a vote is one of them, for votes are compared as texts."""
    references = tuple(record["references"])
    return references[0] if vote and same(vote, references, task.task.extract) else vote


def _mean(records: Sequence[Record], name: str) -> float:
    return float(sum(one["scores"][name] for one in records) / len(records))


def compared(found: Mapping[str, Mapping[str, Any]], ways: Mapping[str, WaySettings]) -> list[dict[str, Any]]:
    """McNemar's test of every way against those that it is to be compared with, task by task.

    `found` has what each way is worth, by task and way.
    """
    return [
        {
            "task": task,
            "way": name,
            "against": other,
            **mcnemar(by_name[name]["right"], by_name[other]["right"]),
        }
        for task, by_name in found.items()
        for name, way in ways.items()
        for other in way.against
        if name in by_name and other in by_name
    ]
