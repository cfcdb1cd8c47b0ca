"""What a finished fine-tuning says of itself: figures of seeds and baselines on every split, and errors.

    results.json                   figures with intervals, spread over seeds, baselines, details, errors
    predictions-validation.jsonl   of every row what was predicted, by the stage's own seed; -test likewise

Validation rows may have chosen the weights (`patience`); test rows, where there are any, have not.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.contract.reading import read_json
from data_prep.contract.receipt import write_atomic
from pipeline.finetuning import intervals
from pipeline.finetuning.prepared import Part, Prepared
from pipeline.tasks.task import Prediction, Task

RESULTS = "results.json"
SHOWN = 20
"""Errors that are kept with their texts."""
LONGEST = 600
"""Characters of a text that is shown."""
Say = Callable[[str], None]


def is_there(folder: Path, fingerprint: str) -> bool:
    """Whether a folder has the results of this very training."""
    path = folder / RESULTS
    found = read_json(path) if path.is_file() else {}
    return isinstance(found, dict) and found.get("fingerprint") == fingerprint


def conclude(
    folder: Path, runs: Mapping[int, Path], prepared: Prepared, fingerprint: str, seed: int, notify: Say
) -> dict[str, Any]:
    """Measure the run of every seed, the one in `folder` last, and write what came out.

    `seed` draws the resamples of intervals.
    """
    from pipeline.finetuning import inference

    task = prepared.task
    parts = {name: part for name, part in prepared.parts.items() if name != "train"}
    said: dict[str, dict[int, list[Prediction]]] = {name: {} for name in parts}
    for number, run in runs.items():
        model = inference.load(run)
        for name, part in parts.items():
            said[name][number] = model.of(part.rows, part.features)
    splits = {}
    for name, part in parts.items():
        splits[name] = split_results(task, prepared.train, part, said[name], seed)
        for line in told(folder.name, name, splits[name]):
            notify(line)
        own = list(said[name].values())[-1]
        lines = (
            json.dumps({"where": row.where, **one}, ensure_ascii=False) + "\n"
            for row, one in zip(part.rows, own, strict=True)
        )
        write_atomic(folder / f"predictions-{name}.jsonl", "".join(lines))
    for name, part in prepared.parts.items():
        if part.cut:
            notify(
                f"{folder.name}: {part.cut:,} of {len(part.rows):,} rows of {name} are longer than there is "
                "room for, and lost their ends"
            )
    found = {
        "fingerprint": fingerprint,
        "task": task.name,
        "main": task.main,
        "rows": prepared.told(),
        "learned": task.learned,
        "splits": splits,
    }
    write_atomic(folder / RESULTS, json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return found


def split_results(
    task: Task, train: Part, part: Part, said: Mapping[int, list[Prediction]], seed: int
) -> dict[str, Any]:
    """Figures, baselines, details and errors on one split."""
    seeds = {number: intervals.figures(task.measures(part.rows, one), seed) for number, one in said.items()}
    own = list(said.values())[-1]
    ours = task.measures(part.rows, own)
    baselines: dict[str, Any] = {}
    for name, one in task.baselines(train.rows, part.rows).items():
        theirs = task.measures(part.rows, one)
        baselines[name] = {
            "figures": intervals.figures(theirs, seed),
            "better_by": intervals.better(ours, theirs, seed),
        }
    names = next(iter(seeds.values()))
    return {
        "rows": len(part.rows),
        "seeds": {str(number): one for number, one in seeds.items()},
        "spread": {name: intervals.spread([one[name]["value"] for one in seeds.values()]) for name in names},
        "baselines": baselines,
        "details": task.details(part.rows, own),
        "errors": errors(task, part, own),
    }


def errors(task: Task, part: Part, predictions: Sequence[Prediction]) -> list[dict[str, str]]:
    """The rows that were answered worst, with their texts."""
    compared = [(task.compare(row, one), row) for row, one in zip(part.rows, predictions, strict=True)]
    wrong = [(how, row) for how, row in compared if how[0] > 0]
    wrong.sort(key=lambda one: -one[0][0])
    return [
        {
            "where": row.where,
            "text": task.show(row)[:LONGEST],
            "wanted": wanted[:LONGEST],
            "said": said[:LONGEST],
        }
        for (_, wanted, said), row in wrong[:SHOWN]
    ]


def told(stage: str, split: str, found: dict[str, Any]) -> list[str]:
    """Lines of a split's figures."""
    lines = []
    own = list(found["seeds"].values())[-1]
    for name, one in own.items():
        line = f"{stage}: {split} {name} {one['value']:.4f} [{one['low']:.4f}, {one['high']:.4f}]"
        others = [
            f"{label} {about['figures'][name]['value']:.4f}"
            for label, about in found["baselines"].items()
            if name in about["figures"]
        ]
        if len(found["seeds"]) > 1:
            spread = found["spread"][name]
            others.append(
                f"{len(found['seeds'])} seeds {spread['mean']:.4f} +- {spread['deviation']:.4f}, median "
                f"{spread['median']:.4f}"
            )
        lines.append(f"{line}; {'; '.join(others)}" if others else line)
    if "collapsed" in found["details"]:
        lines.append(f"{stage}: {split}: every row is given one label, {found['details']['collapsed']}")
    return lines
