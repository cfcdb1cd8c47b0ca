"""What a finished dataset holds, for `bloomery inspect DATASET`: counts, the funnel, examples of what was
rejected by each rule."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import ValidationError

from data_prep.account import input_lines
from data_prep.config import CorpusConfig
from data_prep.contract.dataset import ADDRESS, Dataset
from data_prep.contract.names import one_line
from data_prep.contract.reading import read_bytes
from data_prep.contract.receipt import read_receipt
from data_prep.filters.rules import rules
from data_prep.funnel import funnel_lines
from data_prep.parts import FOLDER
from data_prep.storage import Storage

ADDRESS_BYTES = 10_000
EXAMPLE_COLUMNS = ["id", "source", "url", "rule", "value", "duplicate_of", "text"]
EXPLAINING = {"language": "language", "contaminated": "contaminated_by"}
"""Columns that say more than the value does, by the rule."""


def describe(folder: Path, examples: int = 3, characters: int = 300) -> dict[str, Any]:
    """A dataset in plain values: `splits`, `funnel`, `rejected` (documents and the first examples by rule).

    Texts of examples are cut after `characters`. Where the folder stands for a dataset at an address, what
    was rejected is read from there. Raises `InputError` where the folder is no dataset.
    """
    dataset = Dataset(folder)
    receipt = read_receipt(folder)
    address = folder / ADDRESS
    place = read_bytes(address, limit=ADDRESS_BYTES).decode("utf-8", "replace") if address.is_file() else ""
    storage = Storage(folder, place.strip())
    bounds = bounds_of(dataset.manifest.about.get("recipe", {}))
    fields = ("documents", "tokens", "text_bytes", "blocks", "bytes")
    return {
        "kind": "dataset",
        "folder": str(storage),
        "complete": receipt is not None,
        "fingerprint": dataset.manifest.fingerprint,
        "vocabulary_size": dataset.manifest.vocabulary_size,
        "splits": {
            name: {"shards": len(split.shards)} | {field: split.total(field) for field in fields}
            for name, split in dataset.manifest.splits.items()
        },
        "input": dataset.manifest.about.get("input", {}),
        "funnel": dataset.manifest.about.get("funnel", []),
        "rejected": {
            rule: about | {"bound": bounds.get(rule, "")}
            for rule, about in rejected(storage, examples, characters).items()
        },
        "failures": failures(storage, examples),
    }


def bounds_of(recipe: Mapping[str, Any]) -> dict[str, str]:
    """What each rule of the recipe wants, in words; nothing where another version wrote the recipe."""
    try:
        corpus = CorpusConfig.model_validate(recipe.get("corpus", {}))
    except ValidationError:
        return {}
    found = {}
    for rule in rules(corpus.filters, corpus.decontaminate):
        bounds = {"at least": rule.least, "at most": rule.most}
        found[rule.name] = " and ".join(
            f"{words} {bound:g}" for words, bound in bounds.items() if bound is not None
        )
    return found


def rejected(storage: Storage, examples: int, characters: int) -> dict[str, dict[str, Any]]:
    """Documents and examples by the rule that rejected them, the commonest rule first."""
    counts: Counter[str] = Counter()
    shown: dict[str, list[dict[str, Any]]] = {}
    for path in _files(storage, "decide", ".rejected.parquet"):
        with storage.open(path) as file:
            table = pq.ParquetFile(file)
            counts.update(table.read(["rule"])["rule"].to_pylist())
            if all(len(shown.get(rule, [])) >= examples for rule in counts):
                continue
            columns = [*EXAMPLE_COLUMNS, *EXPLAINING.values()]
            columns = [name for name in columns if name in table.schema_arrow.names]
            for batch in table.iter_batches(64, columns=columns):
                for row in batch.to_pylist():
                    if len(shown.setdefault(row["rule"], [])) < examples:
                        row["text"] = row["text"][:characters]
                        shown[row["rule"]].append(row)
    return {rule: {"documents": count, "examples": shown[rule]} for rule, count in counts.most_common()}


def failures(storage: Storage, examples: int) -> dict[str, dict[str, Any]]:
    """What gave no document, by reason, with the first examples."""
    counts: Counter[str] = Counter()
    shown: dict[str, list[dict[str, Any]]] = {}
    for path in _files(storage, "collect", ".failures.parquet"):
        with storage.open(path) as file:
            rows = pq.read_table(file).to_pylist()
        for row in rows:
            counts[row["reason"]] += 1
            if len(shown.setdefault(row["reason"], [])) < examples:
                shown[row["reason"]].append(row)
    return {reason: {"documents": count, "examples": shown[reason]} for reason, count in counts.most_common()}


def _files(storage: Storage, step: str, suffix: str) -> list[Path]:
    found = storage.files(storage.folder / FOLDER / step)
    return sorted(path for path in found if path.name.endswith(suffix))


def lines(told: Mapping[str, Any], width: int = 110) -> list[str]:
    """What `describe` found, for people: the funnel by step and by rule, with examples of each."""
    state = "" if told["complete"] else "  (not finished)"
    found = [f"dataset {told['folder']}  {told['fingerprint']}{state}"]
    for name, split in told["splits"].items():
        found.append(
            f"  {name:<12} {split['documents']:>12,} documents {split['tokens']:>16,} tokens "
            f"{split['blocks']:>8,} blocks {split['shards']:>6,} shards {split['bytes'] / 1e6:>12,.2f} MB"
        )
    found += input_lines(told["input"]) if told["input"] else []
    found += funnel_lines(told["funnel"])
    for title, part in (("gave no document", "failures"), ("rejected", "rejected")):
        total = sum(about["documents"] for about in told[part].values())
        if total:
            found.append(f"{title}: {total:,}")
        for name, about in told[part].items():
            share = about["documents"] / total
            wanted = about.get("bound", "")
            found.append(f"  {name:<38} {about['documents']:>12,} {share:>8.2%}   {wanted}".rstrip())
            found += [f"      {one_line(_example(row))}"[:width] for row in about["examples"]]
    return found


def _example(row: Mapping[str, Any]) -> str:
    """One line of where a document is from, the value that decided, and how it begins."""
    words = [row["url"] or row["source"]]
    if row.get("duplicate_of"):
        words.append(f"of {row['duplicate_of']:016x}")
    elif "value" in row:
        words.append(f"value {row['value']:.4g}")
    if explaining := row.get(EXPLAINING.get(row.get("rule", ""), "")):
        words.append(str(explaining))
    return "  ".join([*words, " ".join((row.get("text") or row.get("detail") or "").split())])
