"""The exam of a dataset, written as a suite: a task file and its rows for each paper."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.random import Generator

from data_prep.contract.dataset import Dataset
from data_prep.contract.receipt import write_atomic
from pipeline.config import EvalConfig
from pipeline.evaluation.exam import papers
from pipeline.evaluation.exam.source import Example, Source
from pipeline.evaluation.tasks.suites import Suite, read_suite

EXAM = "exam"
EXAMPLES = 1000
"""Examples of the train split to draw from."""
FEWEST = 10
"""A paper with fewer questions is left out."""


@dataclass(frozen=True)
class Paper:
    """One task of the exam."""

    level: int
    rows: Callable[[Source, Generator], Iterator[papers.Row]]
    settings: dict[str, Any]
    """Keys of its task file beside those that all have."""


PAPERS = {
    "spelling": Paper(1, papers.spelling, {}),
    "punctuation": Paper(1, papers.punctuation, {"delimiter": ""}),
    "word order": Paper(2, papers.word_order, {}),
    "agreement": Paper(2, papers.agreement, {}),
    "last word": Paper(3, papers.last_word, {}),
    "recall": Paper(3, papers.recall, {}),
    "induction": Paper(4, papers.induction, {}),
    "continuation": Paper(4, papers.continuation, {"normalise": "bytes"}),
}
RESPONSE = "response"


def make_exam(dataset: Dataset, settings: EvalConfig, seed: int, folder: Path) -> Suite | None:
    """Write the exam of a dataset's validation split; None where that has too little text for any paper."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = Source(dataset)
    for name, paper in PAPERS.items():
        random = np.random.default_rng([seed, *name.encode()])
        rows = list(islice(paper.rows(source, random), settings.questions))
        about = (paper.rows.__doc__ or "").strip().partition("\n")[0]
        if len(rows) >= min(FEWEST, settings.questions):
            _write(folder, name, rows, {"about": about, "level": paper.level} | paper.settings)
    _write_responses(folder, source, settings, np.random.default_rng([seed, *b"questions"]))
    return read_suite(folder) if any(folder.iterdir()) else None


def _write(folder: Path, name: str, rows: list[papers.Row], settings: dict[str, Any]) -> None:
    file = name.replace(" ", "_")
    task = {
        "task": name,
        "rows": f"{file}.jsonl",
        "question": "question",
        "choices": "choices",
        "answer": "answer",
        "score": "choices",
    }
    write_lines(folder / f"{file}.jsonl", rows)
    write_atomic(folder / f"{file}.yaml", yaml.safe_dump(task | settings, sort_keys=False))


def _write_responses(folder: Path, source: Source, settings: EvalConfig, random: Generator) -> None:
    """Which response belongs to an instruction, where the dataset has some; examples are train ones."""
    pairs, examples = source.pairs("validation"), source.pairs("train")
    pool = list({one.answer: one for one in pairs}.values())
    if len(pool) < max(settings.choices, min(FEWEST, settings.questions)) or len(examples) < max(
        settings.shots
    ):
        return
    chosen = [int(i) for i in random.permutation(len(pool))[: settings.questions]]
    rows = [_response(at, pool, settings.choices, random) for at in chosen]
    some = [examples[int(i)] for i in random.permutation(len(examples))[:EXAMPLES]]
    shown = [
        {"question": one.question, "neutral": "", "choices": [one.answer, other.answer], "answer": 0}
        for one, other in zip(some, [*some[1:], *some[:1]], strict=True)
        if one.answer != other.answer
    ]
    write_lines(folder / f"{RESPONSE}_examples.jsonl", shown)
    _write(
        folder,
        RESPONSE,
        rows,
        {
            "about": "Which response belongs to this instruction? The others answer other instructions.",
            "level": 5,
            "delimiter": "\n",
            "normalise": "unconditional",
            "neutral": "neutral",
            "instruct": True,
            "few_shot": {"rows": f"{RESPONSE}_examples.jsonl", "shots": list(settings.shots)},
        },
    )


def _response(at: int, pool: list[Example], choices: int, random: Generator) -> papers.Row:
    one = pool[at]
    others = random.choice(len(pool) - 1, size=choices - 1, replace=False)
    wrong = [pool[int(i) + (int(i) >= at)].answer for i in others]
    instruction, blank, _ = one.question.partition("\n\n")
    return papers.row(one.question, one.answer, wrong, random) | {"neutral": instruction if blank else ""}


def write_lines(path: Path, rows: list[papers.Row]) -> None:
    """Rows as JSON lines."""
    write_atomic(path, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows))
