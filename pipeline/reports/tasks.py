"""The report of tasks: what models can do and what not, every suite's figures, examples right and wrong."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.contract.report import Cell, Code, Headline, Line, Lines, Part, Section, Table, Text
from pipeline.evaluation.tasks.contamination import NGRAM
from pipeline.evaluation.tasks.records import RECORDS, Record, read_records

SHARES = ("choices", "greedy", "exact_match")
"""Scores that are shares of right answers."""
LEARNT, COUNTING = "✓", "≈"
"""Marks of scores above both chance and baseline, and above chance alone."""
SHOWN = 240
"""Characters of a prompt that are shown, its last."""
COLUMNS = ("run", "task", "shots", "draw", "number", "prompt", "answer", "references", "score")


def task_sections(folder: Path, results: Mapping[str, Any]) -> list[Section]:
    """The front, then a section for each suite."""
    suites = results.get("suites", {})
    front = Section("What the models can do", list(_front(results)), front=True)
    found = [Section(f"Tasks: {name}", list(_suite(folder, results, name))) for name in suites]
    return [front, *found] if suites else []


def task_headlines(results: Mapping[str, Any]) -> list[Headline]:
    """How many tasks each model has learnt."""
    found = []
    for run in results.get("runs", {}):
        told = [
            learnt(results, run, suite, task)
            for suite, about in results.get("suites", {}).items()
            for task in about["tasks"]
        ]
        judged = [one for one in told if one is not None]
        if judged:
            found.append(
                Headline(
                    "tasks learnt", f"{sum(judged)} of {len(judged)}", f"{run}, above chance and unigram"
                )
            )
    return found


def task_figures(run: Mapping[str, Any]) -> dict[str, float]:
    """Every score of one run by suite, task and number of examples."""
    return {
        f"{suite}_{task}_{one['shots']}_shot".replace(" ", "_"): one["value"]
        for suite, tasks in run.get("suites", {}).items()
        for task, found in tasks.items()
        for one in found
    }


def learnt(results: Mapping[str, Any], run: str, suite: str, task: str) -> bool | None:
    """Whether a score's interval lies above chance and above the baseline; None where neither is known.

    Of several numbers of examples the best counts.
    """
    scores = results["runs"][run].get("suites", {}).get(suite, {}).get(task)
    level = _level(results, suite, task)
    if not scores or level is None or results["suites"][suite]["tasks"][task]["score"] == "loss":
        return None
    return bool(max(one["low"] for one in scores) > level)


def _level(results: Mapping[str, Any], suite: str, task: str) -> float | None:
    """The larger of chance and the baseline's best score."""
    chance = results["suites"][suite]["tasks"][task]["chance"]
    baseline = [one["value"] for one in _baseline(results, suite, task)]
    known = [one for one in (chance, *baseline) if one is not None]
    return max(known, default=None)


def _baseline(results: Mapping[str, Any], suite: str, task: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        results.get("baselines", {}).get("unigram", {}).get("suites", {}).get(suite, {}).get(task, [])
    )
    return found


def _front(results: Mapping[str, Any]) -> Iterator[Part]:
    """A row a task: what it asks, and each model's score with interval beside chance and the baseline."""
    runs = results.get("runs", {})
    rows: list[list[Cell]] = []
    for suite, about in results["suites"].items():
        for task, what in sorted(about["tasks"].items(), key=lambda one: (one[1]["level"] or 99, one[0])):
            cells = [_score(results, run, suite, task) for run in runs]
            first = [str(what["level"] or ""), task, what["about"]]
            rows.append(
                [*first, *cells, _percent(what["chance"]), _shown(what, _baseline(results, suite, task))]
            )
    head = ["level", "task", "what is asked", *runs, "chance", "unigram model"]
    yield Text(
        f"Scores with their 95 % intervals, from easy tasks to hard ones. {LEARNT} says that the whole "
        "interval lies above chance and above a model that knows how frequent each token is and no more, "
        f"{COUNTING} that it lies above chance alone."
    )
    yield Table(head, rows, frozenset(range(3, len(head))))


def _score(results: Mapping[str, Any], run: str, suite: str, task: str) -> str:
    scores = results["runs"][run].get("suites", {}).get(suite, {}).get(task)
    if not scores:
        return ""
    what = results["suites"][suite]["tasks"][task]
    best = min(scores, key=_value) if what["score"] == "loss" else max(scores, key=_value)
    mark = ""
    if learnt(results, run, suite, task):
        mark = f"{LEARNT} "
    elif what["chance"] is not None and max(one["low"] for one in scores) > what["chance"]:
        mark = f"{COUNTING} "
    shots = f", {best['shots']}-shot" if len(scores) > 1 else ""
    value, low, high = (_number(what, best[key]) for key in ("value", "low", "high"))
    return f"{mark}{value} ({low} to {high}{shots})"


def _value(one: Mapping[str, Any]) -> float:
    return float(one["value"])


def _shown(what: Mapping[str, Any], scores: Sequence[Mapping[str, Any]]) -> str:
    return _number(what, max(map(_value, scores))) if scores else ""


def _number(what: Mapping[str, Any], value: float) -> str:
    return f"{value:.3f}" if what["score"] == "loss" else f"{value:.0%}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _suite(folder: Path, results: Mapping[str, Any], suite: str) -> Iterator[Part]:
    """Its figures in full, scores over numbers of examples, and examples right and wrong."""
    yield from _curve(folder, results, suite)
    head = [
        "task",
        "model",
        "examples",
        "score",
        "spread over draws",
        "questions",
        "other measures",
        "left out",
    ]
    about = results["suites"][suite]["tasks"]
    rows: list[list[Cell]] = [
        [
            task,
            run,
            str(one["shots"]),
            _number(about[task], one["value"]),
            "" if one["spread"] is None else f"{one['spread']:.3f} of {one['draws']}",
            str(one["n"]),
            ", ".join(f"{_plain(name)} {value:.3g}" for name, value in one["others"].items()),
            _left_out(one),
        ]
        for run, found in {**results.get("baselines", {}), **results.get("runs", {})}.items()
        for task, scores in found.get("suites", {}).get(suite, {}).items()
        for one in scores
    ]
    yield Table(head, rows, frozenset({2, 3, 4, 5}))
    yield from _rows_about(results["suites"][suite])
    yield from _examples(folder / RECORDS / f"{suite}.parquet", results)


def _plain(name: str) -> str:
    return name.removeprefix("right_").replace("_", " ")


def _left_out(one: Mapping[str, Any]) -> str:
    words = []
    if one["examples_dropped"]:
        words.append(f"{one['examples_dropped']} examples had no room")
    if one["questions_cut"]:
        words.append(f"{one['questions_cut']} questions lost their beginning")
    return ", ".join(words)


def _rows_about(suite: Mapping[str, Any]) -> Iterator[Part]:
    """What of each task's rows could not be asked, and what the train split has of its questions."""
    rows: list[list[Cell]] = [
        [
            task,
            str(what["questions"]),
            ", ".join(f"{count} {reason}" for reason, count in what["broken"].items()),
            f"{what['contaminated']} of {what['searched']}",
        ]
        for task, what in suite["tasks"].items()
    ]
    seen = suite["train_tokens_searched"]
    yield Text(
        f"Contaminated are questions of which {NGRAM} tokens in a row stand in the train split ({seen:,} "
        "tokens of it were searched), of those that are long enough."
    )
    yield Table(["task", "questions", "rows that are no questions", "contaminated"], rows, frozenset({1, 3}))


def _curve(folder: Path, results: Mapping[str, Any], suite: str) -> Iterator[Part]:
    """The mean over tasks asked with several numbers of examples (Brown et al. 2020, figure 1.3)."""
    about = results["suites"][suite]["tasks"]
    lines, chance = [], []
    for run, found in results.get("runs", {}).items():
        tasks = {
            task: scores
            for task, scores in found.get("suites", {}).get(suite, {}).items()
            if len(scores) > 1 and about[task]["score"] in SHARES
        }
        counts = [[one["shots"] for one in scores] for scores in tasks.values()]
        if not tasks or any(one != counts[0] for one in counts):
            continue
        chance = [about[task]["chance"] or 0.0 for task in tasks]
        lines.append(_line(run, list(tasks.values()), counts[0]))
    if lines:
        level = sum(chance) / len(chance)
        name = f"{folder.name}_{suite}_shots"
        yield Lines(
            name,
            "examples before the question",
            "accuracy",
            lines,
            {f"chance ({level:.0%})": level},
            share=True,
        )


def _line(run: str, tasks: Sequence[Sequence[Mapping[str, Any]]], shots: Sequence[int]) -> Line:
    """Means over tasks; with one task its intervals too."""
    means = [sum(scores[at]["value"] for scores in tasks) / len(tasks) for at in range(len(shots))]
    low, high = ([one[key] for one in tasks[0]] if len(tasks) == 1 else [] for key in ("low", "high"))
    return Line(run, list(shots), means, low, high)


def _examples(path: Path, results: Mapping[str, Any]) -> Iterator[Part]:
    """For each task a question that the last model got right and one that it did not."""
    if not path.is_file() or not results.get("runs"):
        return
    run = list(results["runs"])[-1]
    records = [one for one in read_records(path, COLUMNS) if one["run"] == run]
    rows: list[list[Cell]] = []
    for task in dict.fromkeys(one["task"] for one in records):
        some = [one for one in records if one["task"] == task]
        for right in (True, False):
            one = next((one for one in some if (one["score"] >= 1) == right), None)
            if one is not None:
                rows.append(_example(one, right))
    yield Text(f"Of each task the first question that {run} gets right and the first that it does not:")
    yield Table(["task", "asked", "its answer", "right"], rows, classes="samples")


def _example(one: Record, right: bool) -> list[Cell]:
    prompt = one["prompt"]
    shown = prompt if len(prompt) <= SHOWN else f"… {prompt[-SHOWN:]}"
    answer = one["answer"] or "(another text)"
    return [
        f"{one['task']}: {'right' if right else 'wrong'}",
        Code(shown),
        Code(answer[:SHOWN]),
        Code(one["references"][0][:SHOWN]),
    ]
