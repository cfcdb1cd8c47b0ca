"""Which pictures stay, by the rules and then by duplicates, and where they go.

judge     <name>.verdicts.npy        VERDICT, a row a picture
decide    <name>.kept.parquet        id, source, url, split, bytes, text (captions, a line each), label,
                                     questions (JSON), words (all that is said, a line each)
          <name>.kept.npy            KEPT_ROW, sorted by split and key
          <name>.rejected.parquet    id, source, url, rule, value, duplicate_of
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.by_part import Slices, rows_at
from data_prep.contract.pictures import TRAIN, VALIDATION
from data_prep.contract.questions import parsed
from data_prep.documents import seeded_order, write_array, write_table
from data_prep.filters.decide import DROP, KEPT
from data_prep.images.config import PictureRules
from data_prep.images.rules import NAMES, Facts, fitting, judge
from data_prep.images.scores import read_scores
from data_prep.storage import Storage

VERSION = 2
VERDICT = np.dtype([("rule", "<i2"), ("value", "<f4")])
KEPT_ROW = np.dtype(
    [("split", "<u2"), ("key", "<u8"), ("id", "<u8"), ("row", "<u4"), ("bytes", "<u4"), ("start", "<u8")]
)


def judge_part(
    output: Path, pictures: Path, rules: dict[str, Any], fields: list[str], shared: list[str]
) -> dict[str, Any]:
    """Verdicts of a part's pictures; counts those that stay and those that are rejected, by rule."""
    settings, known = PictureRules.model_validate(rules), frozenset(shared)
    scores = read_scores(settings.scores)
    verdicts: list[tuple[int, float]] = []
    kept, rejected = {"documents": 0, "bytes": 0}, Counter[str]()
    for row in pq.read_table(pictures).to_pylist():
        captions = fitting(row["captions"], settings, known)
        facts = Facts(
            row["original_width"],
            row["original_height"],
            captions,
            bool(row["captions"]),
            row["label"],
            scores.get(row["id"]),
            bool(row["questions"]),
        )
        broken = judge(facts, settings, fields)
        verdicts.append((KEPT, 0.0) if broken is None else broken)
        if broken is None:
            kept["documents"] += 1
            kept["bytes"] += row["bytes"]
        else:
            rejected[NAMES[broken[0]]] += 1
    write_array(output.with_suffix(".verdicts.npy"), np.array(verdicts, VERDICT))
    return {"kept": kept, "rejected": dict(rejected), "documents": len(verdicts)}


def count_captions(output: Path, pictures: Path) -> dict[str, Any]:
    """How many pictures of a part have each caption, where more than one has."""
    counts: Counter[str] = Counter()
    for captions in pq.read_table(pictures, columns=["captions"])["captions"].to_pylist():
        counts.update(set(captions))
    names = sorted(counts)
    table = pa.table({"caption": pa.array(names, pa.string()), "count": [counts[name] for name in names]})
    write_table(output.with_suffix(".captions.parquet"), table)
    return {"captions": len(names)}


def decide_part(
    output: Path,
    storage: Storage,
    pictures: Path,
    verdicts: Path,
    rules: dict[str, Any],
    fields: list[str],
    shared: list[str],
    splits: list[str],
    validation_below: int,
    seed: int,
    drops: dict[str, Slices],
) -> dict[str, Any]:
    """Write a part's kept and rejected pictures; counts them by split, class and reason."""
    settings, known = PictureRules.model_validate(rules), frozenset(shared)
    table = pq.read_table(pictures).to_pylist()
    judged = np.load(verdicts)
    reasons: list[tuple[str, float, int | None] | None] = [
        None if verdict["rule"] == KEPT else (NAMES[verdict["rule"]], float(verdict["value"]), None)
        for verdict in judged
    ]
    dropped = {name: {"documents": 0, "bytes": 0} for name in drops}
    for name, slices in drops.items():
        for drop in rows_at(storage, slices, DROP):
            if reasons[drop["row"]] is None:
                reasons[drop["row"]] = (name, 0.0, int(drop["kept"]))
                dropped[name]["documents"] += 1
                dropped[name]["bytes"] += table[drop["row"]]["bytes"]
    ids = np.array([row["id"] for row in table], np.uint64)
    held_out = seeded_order(ids, seed, VALIDATION) <= np.uint64(validation_below)
    kept, rejected, index = [], [], []
    for number, (row, reason) in enumerate(zip(table, reasons, strict=True)):
        about = {name: row[name] for name in ("id", "source", "url")}
        if reason:
            rejected.append(about | {"rule": reason[0], "value": reason[1], "duplicate_of": reason[2]})
            continue
        split = row["split"] or (VALIDATION if held_out[number] else TRAIN)
        text = "\n".join(fitting(row["captions"], settings, known)) if "caption" in fields else ""
        label = row["label"] if "label" in fields else ""
        asked = row["questions"] if "questions" in fields else ""
        told = {"split": split, "bytes": row["bytes"], "text": text, "label": label, "row": number}
        kept.append(about | told | {"questions": asked, "words": words(text, asked)})
        index.append((splits.index(split), 0, row["id"], len(kept) - 1, row["bytes"], row["start"]))
    rows = np.array(index, KEPT_ROW)
    rows["key"] = seeded_order(np.ascontiguousarray(rows["id"]), seed, "order")
    write_array(output.with_suffix(".kept.npy"), np.sort(rows, order=["split", "key", "id"]))
    write_table(output.with_suffix(".kept.parquet"), pa.Table.from_pylist(kept, KEPT_SCHEMA))
    write_table(output.with_suffix(".rejected.parquet"), pa.Table.from_pylist(rejected, REJECTED_SCHEMA))
    return _counts(kept, [table[one["row"]] for one in kept], splits) | {"dropped": dropped}


def words(captions: str, questions: str) -> str:
    """All that is said about a picture, a line each."""
    asked = parsed(questions.encode(), "questions") if questions else ()
    said = [captions, *(text for one in asked for text in (one.question, one.answer, one.rationale))]
    return "\n".join(filter(None, said))


KEPT_SCHEMA = pa.schema(
    [
        ("id", pa.uint64()),
        ("source", pa.string()),
        ("url", pa.string()),
        ("split", pa.string()),
        ("bytes", pa.int64()),
        ("text", pa.large_string()),
        ("label", pa.string()),
        ("questions", pa.string()),
        ("words", pa.large_string()),
        ("row", pa.int64()),
    ]
)
REJECTED_SCHEMA = pa.schema(
    [
        ("id", pa.uint64()),
        ("source", pa.string()),
        ("url", pa.string()),
        ("rule", pa.string()),
        ("value", pa.float64()),
        ("duplicate_of", pa.uint64()),
    ]
)


def _counts(kept: list[dict[str, Any]], rows: list[dict[str, Any]], splits: list[str]) -> dict[str, Any]:
    sides = [side for row in rows for side in (row["width"], row["height"])]
    counts = {name: {"documents": 0, "bytes": 0, "text_bytes": 0} for name in splits}
    for one in kept:
        told = counts[one["split"]]
        told["documents"] += 1
        told["bytes"] += one["bytes"]
        told["text_bytes"] += len(one["words"].encode())
    return {
        "splits": counts,
        "labels": dict(Counter(one["label"] for one in kept if one["label"])),
        "sides": [min(sides, default=0), max(sides, default=0)],
    }
