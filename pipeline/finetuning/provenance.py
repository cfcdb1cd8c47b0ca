"""Which rows a step of a fine-tuning trained on.

Nothing is recorded while a run trains: the order is a function of seed, settings and rows, so these are read
and put in order again. The run's folder says which files they were:

rows.json    {"schema": 1, "files": {"data": [[name, path, sha256], ...], ...}, "validation_share": 0.1,
              "split_seed": 0}
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.reading import read_json
from data_prep.contract.receipt import file_hash
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.run_folder import read_config
from pipeline.finetuning.prepared import Files, prepare
from pipeline.tasks.saved import read_task

ROWS = "rows.json"
SCHEMA = 1
KEYS = ("data", "validation", "test")


class _Noted(Settings):
    """The file's content."""

    files: dict[str, list[tuple[str, Path, str]]]
    """By key of the stage: the name in the recipe, the place, the hash."""
    validation_share: float
    split_seed: int


def noted(files: Mapping[str, Sequence[tuple[str, Path]]], share: float, split_seed: int) -> str:
    """The file's content."""
    places = {
        key: [[name, str(path.resolve()), file_hash(path)] for name, path in found]
        for key, found in files.items()
    }
    content = {"schema": SCHEMA, "files": places, "validation_share": share, "split_seed": split_seed}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def trace_rows(run: Path, step: int) -> list[dict[str, Any]]:
    """The rows in the global batch of a step, counted from 1: `document` says where each is, `text` what.

    `InputError` where there is no such step, or where the files are not there or not as they were.
    """
    from pipeline.finetuning.batches import TaskBatches
    from pipeline.training.loss_guard import read_skipped
    from pipeline.training.loss_spikes import batch_of

    config = read_config(run)
    if not 1 <= step <= config.train.steps:
        raise InputError(f"--step {step}: the run {run} has the steps 1 to {config.train.steps}")
    note = _read(run / ROWS)
    read, kept, tested = (_unchanged(note, key) for key in KEYS)
    vocabulary = Vocabulary(run / TOKENIZER)
    settings = read_task(run, config, vocabulary).settings
    files = (read, kept, tested)
    prepared = prepare(settings, files, note.validation_share, note.split_seed, config, vocabulary)
    number = batch_of(step - 1, (read_skipped(run) or {}).get("skipped", []))
    return TaskBatches(prepared, config, 0, 1).documents(number)


def _read(path: Path) -> _Noted:
    content = read_json(path)
    if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
        raise InputError(f"{path}: not what a fine-tuned run says of its rows; schema {SCHEMA} is read")
    try:
        return _Noted.model_validate(content)
    except ValidationError as error:
        problem = str(error).splitlines()[0]
        raise InputError(f"{path}: not what a fine-tuned run says of its rows ({problem})") from None


def _unchanged(note: _Noted, key: str) -> Files:
    found = []
    for name, path, wanted in note.files.get(key, []):
        if not path.is_file() or file_hash(path) != wanted:
            state = "is another file than the run was trained with" if path.is_file() else "is not there"
            raise InputError(f"{path} {state}; which rows a step had can be told of the same ones alone")
        found.append((name, path))
    return found
