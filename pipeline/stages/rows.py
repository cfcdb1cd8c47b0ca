"""The kind of stage that makes rows for tasks of what a dataset's functions say of themselves.

    summaries: {kind: rows, data: dataset, make: match, most: 4000}

From the pairs of signatures and summaries that preparation found in Python packages it makes one of

    method     text, label          whether a summary is of a method or of a function
    match      text, second, label  whether a summary is of a signature: in half of the rows it is of another
    parts      words, tags          what each word of a signature is: a parameter, a type, a default

in `train.jsonl`, `validation.jsonl` and `test.jsonl`. The dataset's validation pairs are halved into the last
two, so that no row is of a page that was trained on.
"""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from data_prep.contract.dataset import Dataset
from data_prep.contract.reading import read_jsonl
from data_prep.contract.receipt import Receipt, write_atomic
from data_prep.contract.report import Section, StageReport, Table
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.stages import DATASET, FILES, Input, Kind, Notify, Stage
from pipeline.tuning.instructions import dataset_files

WORD = re.compile(r"\w+|[^\w\s]")
Pair = tuple[str, str]
"""A signature and its summary."""
Row = dict[str, Any]


class RowsConfig(Settings):
    make: Literal["method", "match", "parts"] = "method"
    """What task the rows are of."""
    most: PositiveInt = 4000
    """Most pairs that rows to train on are made of."""


class Rows(Kind):
    """`rows`: rows with what is wanted, out of a dataset's own pairs."""

    name, gives = "rows", FILES
    inputs: ClassVar[tuple[Input, ...]] = (Input("data", (DATASET,)),)
    settings = RowsConfig

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Write the three files."""
        source = stage.source("data")
        assert source is not None
        train, validation = dataset_files(Dataset(source.path).folder)
        if not validation:
            raise InputError(
                f"{source.path}: the dataset has no pairs to validate on; prepare more documents"
            )
        assert isinstance(stage.settings, RowsConfig)
        pairs = read_pairs(train[0])[: stage.settings.most]
        held = read_pairs(validation[0])
        splits = {"train": pairs, "validation": held[::2], "test": held[1::2]}
        counts: dict[str, Any] = {}
        for number, (split, some) in enumerate(splits.items()):
            rows = list(MAKERS[stage.settings.make](some, stage.seed + number))
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            write_atomic(stage.folder / f"{split}.jsonl", "".join(lines))
            counts[split] = len(rows)
        told = ", ".join(f"{count:,} to {split}" for split, count in counts.items())
        notify(f"{stage.name}: rows of the task {stage.settings.make}, {told}")
        return counts

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """How many rows there are."""
        rows = [[name, f"{count:,}"] for name, count in receipt.counts.items()]
        table = Table(["split", "rows"], rows, frozenset({1}))
        return StageReport(sections=[Section(f"{folder.name.capitalize()}: rows", [table])])


def read_pairs(path: Path) -> list[Pair]:
    """Signatures and summaries of a file of pairs, in its order."""
    return [(str(row["input"]), str(row["output"])) for _, row in read_jsonl(path)]


def method_rows(pairs: Sequence[Pair], seed: int) -> Iterator[Row]:
    """Whether a summary is of a method, whose first parameter is `self`, or of a function."""
    del seed
    for signature, summary in pairs:
        first = signature.partition("(")[2].lstrip()
        yield {"text": summary, "label": "method" if first.startswith("self") else "function"}


def match_rows(pairs: Sequence[Pair], seed: int) -> Iterator[Row]:
    """Half of the summaries stand beside another row's signature."""
    drawn = np.random.default_rng([seed, 1])
    others = np.roll(drawn.permutation(len(pairs)), 1) if len(pairs) > 1 else np.zeros(len(pairs), int)
    for index, (signature, summary) in enumerate(pairs):
        other = int(others[index])
        own = other == index or drawn.random() < 0.5
        yield {
            "text": summary,
            "second": signature if own else pairs[other][0],
            "label": "same" if own else "other",
        }


def part_rows(pairs: Sequence[Pair], seed: int) -> Iterator[Row]:
    """The words of signatures that Python understands."""
    del seed
    for signature, _ in pairs:
        found = tagged(signature)
        if found:
            words, tags = zip(*found, strict=True)
            yield {"words": list(words), "tags": list(tags)}


def tagged(signature: str) -> list[tuple[str, str]]:
    """The words of a signature with what they are in BIO; empty where Python does not understand it.

    >>> tagged("def f(n: int=3)")[3:8]
    [('n', 'B-PARAMETER'), (':', 'O'), ('int', 'B-TYPE'), ('=', 'O'), ('3', 'B-DEFAULT')]
    """
    plain = re.sub(r"^(async )?def [\w.]+\(", lambda found: f"{found[1] or ''}def f(", signature)
    moved = len(signature) - len(plain)
    try:
        (function,) = ast.parse(f"{plain}: pass").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    if (
        not plain.isascii()
        or "\n" in plain
        or not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    ):
        return []
    kinds = [""] * len(plain)
    for start, end, kind in spans(function):
        kinds[start:end] = [kind] * (end - start)
    found = []
    before = ""
    for one in WORD.finditer(signature):
        kind = kinds[one.start() - moved] if one.start() - moved >= plain.index("(") else ""
        found.append((one[0], f"{'I' if kind == before else 'B'}-{kind}" if kind else "O"))
        before = kind
    return found


def spans(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[int, int, str]]:
    """Where names of parameters, types and defaults stand."""
    given = function.args
    every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    for one in filter(None, every):
        yield one.col_offset, one.col_offset + len(one.arg), "PARAMETER"
    types = [one.annotation for one in every if one is not None]
    for kind, nodes in (
        ("TYPE", [*types, function.returns]),
        ("DEFAULT", [*given.defaults, *given.kw_defaults]),
    ):
        for node in nodes:
            if node is not None and node.end_col_offset is not None:
                yield node.col_offset, node.end_col_offset, kind


MAKERS = {"method": method_rows, "match": match_rows, "parts": part_rows}
"""What rows of each task are made by."""
