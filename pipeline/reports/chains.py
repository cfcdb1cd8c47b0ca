"""The report of ways of reasoning: accuracies with their costs, paired tests, votes over paths, chains."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.contract.report import (
    Cell,
    Code,
    Headline,
    Line,
    Lines,
    Part,
    Section,
    StageReport,
    Table,
    Text,
)

SURE = 0.05
"""The p below which a difference is said to show."""
LONGEST = 600
"""Characters of a chain that are shown; the records have all of it."""


def chains_report(folder: Path, results: Mapping[str, Any]) -> StageReport:
    """What the stage in `folder` says."""
    return StageReport(
        headlines=[*_headlines(results)],
        sections=[Section(f"Ways of reasoning: {folder.name}", [*_parts(folder.name, results)])],
        figures={
            results["run"]: {
                f"{folder.name}_{task}_{way}".replace(" ", "_"): one["share"]
                for task, ways in results["tasks"].items()
                for way, one in ways.items()
            }
        },
    )


def _headlines(results: Mapping[str, Any]) -> Iterator[Headline]:
    """For each comparison the task on which the two ways differ most."""
    pairs = dict.fromkeys((one["way"], one["against"]) for one in results["tests"])
    for way, other in pairs:
        tests = [one for one in results["tests"] if (one["way"], one["against"]) == (way, other)]
        best = max(tests, key=lambda one: one["only_first"] - one["only_second"])
        found = results["tasks"][best["task"]]
        note = f"{best['task']}; {other} {found[other]['share']:.0%}, p {best['p']:.2g}"
        yield Headline(f"{way} right", f"{found[way]['share']:.0%}", note)


def _parts(name: str, results: Mapping[str, Any]) -> Iterator[Part]:
    yield Text(
        f"The same questions to {results['run']}, in several ways. Tokens are means a question: those of the "
        "prompts that were read, and those that were said, over all that a way asks."
    )
    yield _shares(results)
    if results["tests"]:
        yield Text(
            "Two ways on the same questions: how many one of them alone gets right, and the chance of a "
            "difference as large where both are equally good (McNemar's exact test)."
        )
        yield _tests(results["tests"])
    voting = _voting(name, results)
    if voting.lines:
        yield Text(
            "Votes: the share of right answers over the number of drawn paths that vote, the mean over "
            "subsets of the paths with what 95 % of them lie within. Levels are of one greedy chain."
        )
        yield voting
    yield from _chains(results)


def _shares(results: Mapping[str, Any]) -> Table:
    rows: list[list[Cell]] = [
        [
            task,
            way,
            f"{one['share']:.1%}",
            f"{one['low']:.1%} to {one['high']:.1%}",
            str(one["n"]),
            f"{one['prompt_tokens']:,.0f}",
            f"{one['generated_tokens']:,.0f}",
            str(one["cut"] or ""),
        ]
        for task, ways in results["tasks"].items()
        for way, one in ways.items()
    ]
    head = ["task", "way", "right", "95 % interval", "questions", "tokens read", "tokens said", "too long"]
    return Table(head, rows, frozenset(range(2, len(head))))


def _tests(tests: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[list[Cell]] = [
        [
            one["task"],
            one["way"],
            one["against"],
            f"{one['only_first']:.0f}",
            f"{one['only_second']:.0f}",
            f"{one['p']:.2g}",
            _verdict(one),
        ]
        for one in tests
    ]
    head = ["task", "way", "against", "only the way", "only the other", "p", ""]
    return Table(head, rows, frozenset({3, 4, 5}))


def _verdict(test: Mapping[str, Any]) -> str:
    """What a test shows, in words."""
    if test["p"] >= SURE:
        return "no difference shows"
    better, worse = ("way", "against") if test["only_first"] > test["only_second"] else ("against", "way")
    return f"{test[better]} beats {test[worse]}"


def _voting(name: str, results: Mapping[str, Any]) -> Lines:
    lines, levels = [], {}
    greedy = {(one["way"], one["task"]): one["against"] for one in results["tests"]}
    for task, ways in results["tasks"].items():
        for way, one in ways.items():
            if "paths" not in one:
                continue
            counts = [*one["paths"]]
            means, low, high = zip(*(one["paths"][count] for count in counts), strict=True)
            lines.append(Line(f"{task}: {way}", [*map(int, counts)], means, low, high))
            other = greedy.get((way, task))
            if other:
                levels[f"{task}: {other}"] = ways[other]["share"]
    return Lines(f"{name}_votes", "paths that vote", "right answers", lines, levels, share=True)


def _chains(results: Mapping[str, Any]) -> Iterator[Part]:
    """Right and wrong chains of every way, task by task."""
    for task, ways in results["tasks"].items():
        rows: list[list[Cell]] = [
            [
                way,
                "right" if shown["score"] >= 1 else "wrong",
                Code(shown["prompt"]),
                Code(shown["chain"].strip()[:LONGEST]),
                Code(shown["answer"] or "(none)"),
                Code(shown["references"][0]),
            ]
            for way, one in ways.items()
            for shown in one["examples"]
        ]
        yield Text(f"What was said: {task}.")
        yield Table(
            ["way", "", "question", "what was said", "answer", "right answer"], rows, classes="samples"
        )
