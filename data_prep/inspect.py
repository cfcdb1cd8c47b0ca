"""What a finished dataset holds, for `bloomery inspect DATASET`: counts, the funnel, examples of what was
rejected by each rule."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from data_prep.contract.dataset import Dataset
from data_prep.contract.receipt import read_receipt

EXAMPLE_COLUMNS = ["id", "source", "url", "rule", "value", "duplicate_of", "text"]


def describe(folder: Path, examples: int = 3, characters: int = 300) -> dict[str, Any]:
    """A dataset in plain values: `splits`, `funnel`, `rejected` (documents and the first examples by rule).

    Texts of examples are cut after `characters`. Raises `InputError` where the folder is no dataset.
    """
    dataset = Dataset(folder)
    receipt = read_receipt(folder)
    fields = ("documents", "tokens", "text_bytes", "blocks", "bytes")
    return {
        "kind": "dataset",
        "folder": str(folder),
        "complete": receipt is not None,
        "fingerprint": dataset.manifest.fingerprint,
        "vocabulary_size": dataset.manifest.vocabulary_size,
        "splits": {
            name: {"shards": len(split.shards)} | {field: split.total(field) for field in fields}
            for name, split in dataset.manifest.splits.items()
        },
        "funnel": dataset.manifest.about.get("funnel", []),
        "rejected": rejected(folder, examples, characters),
        "failures": failures(folder, examples),
    }


def rejected(folder: Path, examples: int, characters: int) -> dict[str, dict[str, Any]]:
    """Documents and examples by the rule that rejected them, the commonest rule first."""
    counts: Counter[str] = Counter()
    shown: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((folder / "parts" / "decide").glob("*.rejected.parquet")):
        counts.update(pq.read_table(path, columns=["rule"])["rule"].to_pylist())
        if all(len(shown.get(rule, [])) >= examples for rule in counts):
            continue
        for batch in pq.ParquetFile(path).iter_batches(64, columns=EXAMPLE_COLUMNS):
            for row in batch.to_pylist():
                if len(shown.setdefault(row["rule"], [])) < examples:
                    row["text"] = row["text"][:characters]
                    shown[row["rule"]].append(row)
    return {rule: {"documents": count, "examples": shown[rule]} for rule, count in counts.most_common()}


def failures(folder: Path, examples: int) -> dict[str, dict[str, Any]]:
    """What gave no document, by reason, with the first examples."""
    counts: Counter[str] = Counter()
    shown: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((folder / "parts" / "collect").glob("*.failures.parquet")):
        for row in pq.read_table(path).to_pylist():
            counts[row["reason"]] += 1
            if len(shown.setdefault(row["reason"], [])) < examples:
                shown[row["reason"]].append(row)
    return {reason: {"documents": count, "examples": shown[reason]} for reason, count in counts.most_common()}
