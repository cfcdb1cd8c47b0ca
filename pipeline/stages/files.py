"""What stages that make rows leave, and what those that read them look for."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from data_prep.contract.receipt import write_atomic

CONVERSATIONS = "conversations"
"""What a stage gives that makes conversations to tune on: a folder with the files TRAIN and VALIDATION."""
PREFERENCES = "preferences"
"""The same of comparisons."""
TRAIN, VALIDATION = "train.jsonl", "validation.jsonl"


def write_rows(folder: Path, rows: Mapping[str, Iterable[Any]]) -> dict[str, int]:
    """Write rows by their file's name; returns how many there are, by the name of their split."""
    counts = {}
    for name, some in rows.items():
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in some]
        write_atomic(folder / name, "".join(lines))
        counts[name.removesuffix(".jsonl")] = len(lines)
    return counts
