"""The two deciding steps.

`judge_part` compares a part's signals with the recipe's thresholds, before deduplication, so that a document
that is rejected anyway never removes a better one:

    <name>.verdicts.npy         VERDICT, one row a document

`decide_part` writes what stays and what does not, each with its signals, and draws the validation split:

    <name>.kept.parquet         id, source, url, split, signals, text as it will be trained on; the number of
                                lines that others have and it lost, where they are compared
    <name>.rejected.parquet     id, source, url, rule, value, duplicate_of, signals, text as it was read
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.by_part import Slices, rows_at
from data_prep.config import DecontaminateConfig
from data_prep.dedup import lines
from data_prep.documents import seeded_order, write_array, write_table
from data_prep.filters import c4, pii
from data_prep.filters.rules import TOO_SLOW, judge_by_language, reasons
from data_prep.filters.settings import FilterConfig
from data_prep.limit import OverTimeError, limited
from data_prep.storage import Storage

VERSION = 3
VERDICT = np.dtype([("rule", "<i2"), ("value", "<f8")])
KEPT, NOT_TAKEN = -1, -2
"""Verdicts that are no rule's number; documents beyond the recipe's cap are neither kept nor rejected."""
DROP = np.dtype([("part", "<u4"), ("row", "<u4"), ("kept", "<u8")])
"""A document that is dropped as a duplicate of another: where it is, and the id of the one that stays."""


def judge_part(
    output: Path,
    signals: Path,
    filters: dict[str, Any],
    decontaminate: dict[str, Any],
    most_bytes: int | None,
) -> dict[str, Any]:
    """Verdicts of a part's documents; counts documents and bytes that stay, and those rejected by rule.

    The part's first documents are taken until they have `most_bytes`; null takes all.
    """
    config, clean = _rules(filters, decontaminate)
    table = pq.read_table(signals)
    verdict, value = judge_by_language(table, config, clean)
    sizes = table["bytes"].to_numpy()
    if most_bytes is not None:
        verdict[np.cumsum(sizes) - sizes >= most_bytes] = NOT_TAKEN
    rows = np.empty(len(verdict), VERDICT)
    rows["rule"], rows["value"] = verdict, value
    write_array(output.with_suffix(".verdicts.npy"), rows)
    order = reasons(config, clean)
    names = Counter(order[index] for index in verdict[verdict >= 0])
    taken, kept = verdict != NOT_TAKEN, verdict == KEPT
    return {"taken": _sizes(sizes, taken), "kept": _sizes(sizes, kept), "rejected": dict(names)}


def _rules(
    filters: Mapping[str, Any], decontaminate: Mapping[str, Any]
) -> tuple[FilterConfig, DecontaminateConfig]:
    return FilterConfig.model_validate(filters), DecontaminateConfig.model_validate(decontaminate)


def _sizes(sizes: NDArray[np.int64], which: NDArray[np.bool_]) -> dict[str, int]:
    return {"documents": int(which.sum()), "bytes": int(sizes[which].sum())}


def decide_part(
    output: Path,
    storage: Storage,
    documents: Path,
    signals: Path,
    verdicts: Path,
    drops: dict[str, Slices],
    lost: Slices | None,
    filters: dict[str, Any],
    decontaminate: dict[str, Any],
    mask: bool,
    validation_below: int,
    seed: int,
) -> dict[str, Any]:
    """Write a part's kept and rejected documents.

    `drops` has where this part's duplicates (DROP) are by the reason for which they go, `lost` where the
    lines (LOST) that its documents lose are; null where lines are not compared. `mask` replaces personal
    data. Documents whose key is below `validation_below` are held out.
    """
    marks: NDArray[Any] = np.load(verdicts)
    table = _joined(pq.read_table(documents), pq.read_table(signals))
    names = reasons(*_rules(filters, decontaminate))
    taken, values = marks["rule"] != NOT_TAKEN, marks["value"].copy()
    reason, duplicate_of = _reasons(marks, names, drops, storage)
    gone = None if lost is None else lines.by_row(rows_at(storage, lost, lines.LOST))
    finish = Finisher(filters, mask, gone)
    stays = (reason == "") & taken
    kept, slow = finish.table(table.filter(pa.array(stays)), np.flatnonzero(stays))
    reason[slow] = TOO_SLOW
    for row in np.flatnonzero(reason == lines.REASON).tolist():
        values[row] = finish.sentences(row, table["text"][row].as_py())
    keys = seeded_order(kept["id"].to_numpy(), seed, "split")
    split = np.where(keys < np.uint64(validation_below), "validation", "train")
    write_table(
        output.with_suffix(".kept.parquet"), kept.append_column("split", pa.array(split, pa.string()))
    )
    rejected = (
        table.append_column("rule", pa.array(reason, pa.string()))
        .append_column("value", pa.array(values))
        .append_column("duplicate_of", pa.array(duplicate_of))
        .filter(pa.array((reason != "") & taken))
    )
    write_table(output.with_suffix(".rejected.parquet"), rejected)
    left, sizes = kept["bytes"].to_numpy(), table["bytes"].to_numpy()
    late = (reason == TOO_SLOW) & (marks["rule"] == KEPT)
    return {
        "splits": {name: _sizes(left, split == name) for name in ("train", "validation")},
        "dropped": {TOO_SLOW: _sizes(sizes, late)}
        | {name: _sizes(sizes, reason == name) for name in drops if name != TOO_SLOW},
        "masked": finish.masked,
    }


def _reasons(
    marks: NDArray[Any], names: Sequence[str], drops: Mapping[str, Slices], storage: Storage
) -> tuple[NDArray[Any], NDArray[np.uint64]]:
    """Why each document goes ("" where it stays), and the one that stays in place of a duplicate."""
    reason = np.full(len(marks), "", object)
    rejected = marks["rule"] >= 0
    reason[rejected] = np.array(names, object)[marks["rule"][rejected]]
    duplicate_of = np.zeros(len(marks), np.uint64)
    for name, slices in drops.items():
        found = rows_at(storage, slices, DROP)
        reason[found["row"]], duplicate_of[found["row"]] = name, found["kept"]
    return reason, duplicate_of


def _joined(documents: pa.Table, signals: pa.Table) -> pa.Table:
    """A row per document: where it is from, its signals, its text."""
    columns = {name: documents[name] for name in ("id", "source", "url")}
    columns |= {name: signals[name] for name in signals.column_names if name != "id"}
    return pa.table(columns | {"text": documents["text"]})


class Finisher:
    """Makes the texts that will be trained on: C4's lines, without those that others have, without names."""

    def __init__(
        self, filters: Mapping[str, Any], mask: bool, lost: Mapping[int, frozenset[int]] | None
    ) -> None:
        rules = c4.line_settings(FilterConfig.model_validate(filters))
        self.c4_lines = c4.Lines(rules) if rules else None
        self.mask, self.lost = mask, lost
        self.masked = 0
        """Placeholders in the texts so far."""

    def table(self, table: pa.Table, rows: NDArray[np.int64]) -> tuple[pa.Table, list[int]]:
        """The documents, which are these rows of their part, with their final texts and sizes; and those of
        the rows that are not among them since they took too long."""
        if not self.c4_lines and not self.mask and self.lost is None:
            return table, []
        texts, gone, sizes = [], [], []
        in_time = np.ones(len(rows), bool)
        for number, (row, text) in enumerate(zip(rows.tolist(), table["text"].to_pylist(), strict=True)):
            try:
                with limited(text):
                    text, count = self.unmasked(row, text)
                    masked = pii.replace(text) if self.mask else (text, 0)
            except OverTimeError:
                in_time[number] = False
                continue
            gone.append(count)
            sizes.append((len(text.encode()), len(text)))
            texts.append(masked[0])
            self.masked += masked[1]
        table = table.filter(pa.array(in_time))
        columns = {name: table[name] for name in table.column_names} | {
            "text": pa.array(texts, pa.large_string())
        }
        if self.lost is not None:
            columns["bytes"] = pa.array([size for size, _ in sizes], pa.int64())
            columns["characters"] = pa.array([size for _, size in sizes], pa.int64())
            columns["duplicate_lines"] = pa.array(gone, pa.int64())
        return pa.table(columns), rows[~in_time].tolist()

    def sentences(self, row: int, text: str) -> int:
        """Sentences in what is left of a document; 0 where that cannot be said in time."""
        try:
            with limited(text):
                return lines.sentences(self.unmasked(row, text)[0])
        except OverTimeError:
            return 0

    def unmasked(self, row: int, text: str) -> tuple[str, int]:
        """A document's text before names go, and how many lines it lost because others have them."""
        if self.c4_lines:
            text, _ = self.c4_lines.clean(text)
        return (
            lines.without_lines(text, self.lost.get(row, frozenset())) if self.lost is not None else (text, 0)
        )
