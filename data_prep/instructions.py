"""Instruction pairs out of the documents, where their source makes any: JSON lines for tuning.

    instructions/train.jsonl, instructions/validation.jsonl: {"id", "instruction", "input", "output"}

A pair goes where its document went. Within and between the files no input and no output occurs twice, so
that a summary in the validation file is new to the model and belongs to one function alone.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.contract.receipt import write_atomic
from data_prep.documents import hash64
from data_prep.storage import Storage

FOLDER = "instructions"
INSTRUCTION = "Write a one-line summary of what this Python function does."


def write_instructions(
    storage: Storage, pairs: Sequence[Path], kept: Sequence[Path], seed: int
) -> dict[str, int]:
    """Write both files; counts the rows of each. `pairs` and `kept` are the parts' files side by side."""
    found: list[tuple[bool, int, int, str, str]] = []
    for pair_path, kept_path in zip(pairs, kept, strict=True):
        with storage.open(pair_path) as file:
            rows_of_part = pq.read_table(file).to_pylist()
        if not rows_of_part:
            continue
        with storage.open(kept_path) as file:
            documents = pq.read_table(file, columns=["id", "split"])
        splits = dict(zip(documents["id"].to_pylist(), documents["split"].to_pylist(), strict=True))
        for row in rows_of_part:
            split = splits.get(row["id"])
            if split:
                order = hash64(seed, "pairs", row["input"], row["output"])
                found.append((split == "train", order, row["id"], row["input"], row["output"]))
    rows: dict[str, list[str]] = {"validation": [], "train": []}
    for in_train, order, document, question, answer in distinct(sorted(found)):
        row = {"id": f"{document:016x}-{order:016x}", "instruction": INSTRUCTION}
        line = json.dumps(row | {"input": question, "output": answer}, ensure_ascii=False)
        rows["train" if in_train else "validation"].append(line + "\n")
    for split, lines in rows.items():
        path = storage.folder / FOLDER / f"{split}.jsonl"
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, "".join(lines))
        storage.store(path)
    return {split: len(lines) for split, lines in rows.items()}


def distinct(pairs: Sequence[tuple[bool, int, int, str, str]]) -> Iterator[tuple[bool, int, int, str, str]]:
    """The pairs whose input and output are both new, case and white space apart; the first ones win."""
    seen: set[str] = set()
    for pair in pairs:
        texts = {" ".join(text.casefold().split()) for text in pair[3:]}
        if not texts & seen:
            seen |= texts
            yield pair


PAIR_SCHEMA = pa.schema([("id", pa.uint64()), ("input", pa.string()), ("output", pa.string())])
