"""Task files as tests write them."""

import json
from pathlib import Path
from typing import Any

import yaml

CHOICES = {
    "question": "question",
    "choices": "choices",
    "answer": "answer",
    "score": "choices",
}
ROWS = [
    {"question": "adds the", "choices": ["number", "path"], "answer": 0},
    {"question": "reads a", "choices": ["sum", "file"], "answer": 1},
    {"question": "returns the", "choices": ["list", "adds", "two"], "answer": "list"},
]


def write_task(folder: Path, lines: list[Any], name: str = "toy", **keys: Any) -> Path:
    """A task of choices with these rows; `keys` are put over its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    plain = {"task": name, "rows": f"{name}.jsonl"} | CHOICES | keys
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({key: one for key, one in plain.items() if one is not None}))
    return path


def write_foreign(folder: Path, rows: list[Any], name: str = "theirs", **keys: Any) -> Path:
    """A task file of lm-evaluation-harness over these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    files = {"data_files": {"test": f"{name}.jsonl"}}
    plain = {"task": name, "dataset_path": "json", "dataset_kwargs": files, "test_split": "test"} | keys
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(plain))
    return path
