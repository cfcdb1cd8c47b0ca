"""The two deciding steps.

`judge_part` compares a part's signals with the recipe's thresholds, before deduplication, so that a document
that is rejected anyway never removes a better one:

    <name>.verdicts.npy         VERDICT, one row a document

`decide_part` writes what stays and what does not, each with its signals, and draws the validation split:

    <name>.kept.parquet         id, source, url, split, bytes, order, signals, text
    <name>.rejected.parquet     id, source, url, rule, value, duplicate_of, signals, text
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.config import FilterConfig
from data_prep.documents import seeded_order, write_array, write_table
from data_prep.filters.rules import judge, rules

VERSION = 1
VERDICT = np.dtype([("rule", "<i2"), ("value", "<f8")])
DROP = np.dtype([("part", "<u4"), ("row", "<u4"), ("kept", "<u8")])
"""A document that is dropped as a duplicate of another: where it is, and the id of the one that stays."""


KEPT, NOT_TAKEN = -1, -2
"""The verdict on documents beyond the recipe's cap: they are neither kept nor rejected."""


def judge_part(
    output: Path, signals: Path, filters: dict[str, Any], most_bytes: int | None
) -> dict[str, Any]:
    """Verdicts of a part's documents; counts documents and bytes that stay, and those rejected by rule.

    The part's first documents are taken until they have `most_bytes`; null takes all.
    """
    order = rules(FilterConfig.model_validate(filters))
    table = pq.read_table(signals)
    verdict, value = judge(table, order)
    sizes = table["bytes"].to_numpy()
    if most_bytes is not None:
        verdict[np.cumsum(sizes) - sizes >= most_bytes] = NOT_TAKEN
    rows = np.empty(len(verdict), VERDICT)
    rows["rule"], rows["value"] = verdict, value
    write_array(output.with_suffix(".verdicts.npy"), rows)
    names = Counter(order[index].name for index in verdict[verdict >= 0])
    taken, kept = verdict != NOT_TAKEN, verdict == KEPT
    return {
        "taken": {"documents": int(taken.sum()), "bytes": int(sizes[taken].sum())},
        "kept": {"documents": int(kept.sum()), "bytes": int(sizes[kept].sum())},
        "rejected": dict(names),
    }


def decide_part(
    output: Path,
    documents: Path,
    signals: Path,
    verdicts: Path,
    drops: dict[str, list[list[int]]],
    filters: dict[str, Any],
    validation_below: int,
    seed: int,
) -> dict[str, Any]:
    """Write a part's kept and rejected documents. `drops` has (row, id of the one that stays) by reason.

    Documents whose key is below `validation_below` are held out.
    """
    texts = pq.read_table(documents)
    signal_table = pq.read_table(signals).drop_columns(["id"])
    marks: NDArray[Any] = np.load(verdicts)
    names = np.array([rule.name for rule in rules(FilterConfig.model_validate(filters))], object)
    reason = np.full(len(marks), "", object)
    reason[marks["rule"] >= 0] = names[marks["rule"][marks["rule"] >= 0]]
    duplicate_of = np.zeros(len(marks), np.uint64)
    for name, rows in drops.items():
        for row, kept_id in rows:
            reason[row], duplicate_of[row] = name, kept_id
    table = pa.table({name: texts[name] for name in ("id", "source", "url")} | _columns(signal_table))
    table = table.append_column("text", texts["text"])
    taken = marks["rule"] != NOT_TAKEN
    keep = (reason == "") & taken
    keys = seeded_order(table["id"].to_numpy(), seed, "split")
    split = np.where(keys < np.uint64(validation_below), "validation", "train")
    kept = table.append_column("split", pa.array(split)).filter(pa.array(keep))
    rejected = (
        table.append_column("rule", pa.array(reason, pa.string()))
        .append_column("value", pa.array(marks["value"]))
        .append_column("duplicate_of", pa.array(duplicate_of))
        .filter(pa.array((reason != "") & taken))
    )
    write_table(output.with_suffix(".kept.parquet"), kept)
    write_table(output.with_suffix(".rejected.parquet"), rejected)
    sizes = {
        name: {
            "documents": int((kept_split := pc.equal(kept["split"], name)).to_numpy().sum()),
            "bytes": int(pc.sum(kept.filter(kept_split)["bytes"]).as_py() or 0),
        }
        for name in ("train", "validation")
    }
    return {"splits": sizes}


def _columns(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return {name: table[name] for name in table.column_names}
