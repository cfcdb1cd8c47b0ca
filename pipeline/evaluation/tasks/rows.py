"""The rows of a task: JSON lines, an array in a JSON file, or Parquet."""

from pathlib import Path
from typing import Any

from data_prep.contract.reading import read_json, read_jsonl
from data_prep.contract.settings import InputError
from pipeline.evaluation.tasks.templates import Row


def read_rows(path: Path) -> list[Row]:
    """Every row of a file, in order. `InputError` where it is not there, or holds no rows."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; the rows of a task are expected here (JSONL or Parquet)")
    found = _read(path)
    if not found:
        raise InputError(f"{path}: it has no rows")
    for number, row in enumerate(found, 1):
        if not isinstance(row, dict):
            raise InputError(f"{path}: row {number} is no mapping of columns to values")
    return found


def _read(path: Path) -> list[Any]:
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix == ".json":
        found = read_json(path)
        if not isinstance(found, list):
            raise InputError(f"{path}: a .json file must hold an array of rows; name JSON lines .jsonl")
        return found
    return [row for _, row in read_jsonl(path)]


def _read_parquet(path: Path) -> list[Any]:
    import pyarrow
    import pyarrow.parquet

    try:
        found: list[Any] = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a Parquet file ({error})") from None
    return found
