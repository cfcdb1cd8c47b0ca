"""What was asked and what came of it, a row a question: one Parquet file for each suite.

run, task, shots, draw, number      which question of which task, asked of which run
prompt, prompt_tokens               what stood before the answer, as text and as ids
choices, choice_tokens              what there was to choose from, as text and as ids
log_likelihoods, unconditional      of each choice, in nats; without the question where that is asked
greedy                              whether each is what the model would say
text, answer, references            what it said, what was found in that, what counts as right
right                               numbers of the right choices
score, scores                       by the task's measure (1 is right, 0 wrong), and by others
shown, cut                          examples that had room; whether the question lost its beginning
generated_tokens                    how many tokens the answer took
chain                               what was said on the way to the answer, where something was
votes                               the answers that were voted among, in the order in which they were drawn
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from data_prep.contract.settings import InputError

Record = dict[str, Any]
RECORDS = "records"
"""The folder of these files below an evaluation's."""


def schema() -> Any:
    """The columns."""
    import pyarrow as pa

    text, texts, numbers, reals = (
        pa.string(),
        pa.list_(pa.string()),
        pa.list_(pa.int32()),
        pa.list_(pa.float64()),
    )
    columns = {
        "run": text,
        "task": text,
        "shots": pa.int32(),
        "draw": pa.int32(),
        "number": pa.int64(),
        "prompt": text,
        "prompt_tokens": numbers,
        "choices": texts,
        "choice_tokens": pa.list_(numbers),
        "log_likelihoods": reals,
        "unconditional": reals,
        "greedy": pa.list_(pa.bool_()),
        "text": text,
        "answer": text,
        "references": texts,
        "right": numbers,
        "score": pa.float64(),
        "scores": pa.map_(text, pa.float64()),
        "shown": pa.int32(),
        "cut": pa.bool_(),
        "generated_tokens": pa.int32(),
        "chain": text,
        "votes": texts,
    }
    return pa.schema(list(columns.items()))


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write a file so that it is there whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [one | {"scores": list(one["scores"].items())} for one in records]
    temporary = path.with_name(f".{path.name}.tmp")
    pq.write_table(pa.Table.from_pylist(rows, schema()), temporary, compression="zstd")
    temporary.replace(path)


def read_records(path: Path, columns: Sequence[str] | None = None) -> list[Record]:
    """The rows of a file, or some of their columns. `InputError` where it is no such file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(f"{path}: no such file; a Parquet file of an evaluation is expected here")
    try:
        table = pq.read_table(path, columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a Parquet file ({error})") from None
    missing = {"run", "task", "score"} - set(table.column_names)
    if missing and columns is None:
        raise InputError(f"{path}: not of an evaluation; it has no column {', '.join(sorted(missing))}")
    return [one | {"scores": dict(one["scores"])} if "scores" in one else one for one in table.to_pylist()]
