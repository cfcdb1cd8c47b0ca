"""Scores of pictures and their captions by a model, in Parquet: what a stage of the pipeline has left."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.contract.names import printable
from data_prep.contract.settings import InputError

COLUMNS = ["id", "score"]


def score_files(paths: Sequence[str]) -> list[Path]:
    """The files that these paths name, those of a folder by their names. `InputError` where there is none."""
    found: list[Path] = []
    for path in map(Path, paths):
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not files or not all(file.is_file() for file in files):
            raise InputError(
                f"images.rules.scores: {printable(str(path))} is no Parquet file and no folder of any"
            )
        found += files
    return found


def read_scores(paths: Sequence[str]) -> dict[int, float]:
    """The score of each picture by its id. `InputError` for a file without them."""
    found: dict[int, float] = {}
    for path in score_files(paths):
        try:
            table = pq.read_table(path, columns=COLUMNS)
            ids, values = table["id"].cast(pa.uint64()), table["score"].cast(pa.float64())
        except (pa.ArrowException, OSError, KeyError) as error:
            raise InputError(
                f"images.rules.scores: {printable(str(path))} has no columns id and score ({error})"
            ) from None
        pairs = zip(ids.to_pylist(), values.to_pylist(), strict=True)
        found |= {document: value for document, value in pairs if document is not None and value is not None}
    return found
