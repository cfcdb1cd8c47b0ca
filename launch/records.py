"""`bloomery inspect RECORDS`: the questions of an evaluation, filtered, and two runs compared."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.contract.names import printable
from data_prep.contract.settings import InputError
from pipeline.evaluation.tasks.figures import compare
from pipeline.evaluation.tasks.records import Record, read_records

SHOWN = 20
"""Questions that people are shown; JSON has all."""


def inspect_records(path: Path, where: Sequence[str], versus: Sequence[str]) -> dict[str, Any]:
    """The questions that every `KEY=VALUE` fits, and McNemar's test of two runs where they are named."""
    found = filtered(read_records(path), where)
    result: dict[str, Any] = {"kind": "records", "questions": len(found), "records": found}
    if versus:
        result["compared"] = compared(found, versus)
    return result


def filtered(records: list[Record], where: Sequence[str]) -> list[Record]:
    """The rows that all conditions fit: a column's value, a list's member, or `right=true` by the score."""
    for condition in where:
        key, equals, wanted = condition.partition("=")
        if not equals:
            raise InputError(f"--where {printable(condition)}: KEY=VALUE is expected, as in task=spelling")
        if records and key not in records[0]:
            names = ", ".join(records[0])
            raise InputError(f"--where {printable(condition)}: no column {printable(key)}; there are {names}")
        records = [one for one in records if _fits(one, key, wanted)]
    return records


def _fits(record: Record, key: str, wanted: str) -> bool:
    value = record[key]
    if key == "right" and wanted in ("true", "false"):
        return bool(record["score"] >= 1) == (wanted == "true")
    if isinstance(value, bool):
        return str(value).lower() == wanted.lower()
    if isinstance(value, float):
        return json.dumps(value).removesuffix(".0") == wanted.removesuffix(".0")
    return wanted in map(str, value) if isinstance(value, list) else str(value) == wanted


def compared(records: list[Record], runs: Sequence[str]) -> list[dict[str, Any]]:
    """Who of two runs is right where the other is not, by task and number of examples."""
    known = sorted({one["run"] for one in records})
    if len(runs) != 2 or not set(runs) <= set(known):
        raise InputError(f"--compare: two runs are expected, of {', '.join(known) or 'none'}")
    return [
        {"task": task, "shots": shots, **found} for (task, shots), found in compare(records, *runs).items()
    ]


def record_lines(result: dict[str, Any], versus: Sequence[str]) -> list[str]:
    """For people."""
    if versus:
        one, other = map(printable, versus)
        return [
            f"{row['task']}, {row['shots']}-shot: {one} alone right {row['only_first']:.0f} times, "
            f"{other} {row['only_second']:.0f}; p = {row['p']:.3g}"
            for row in result["compared"]
        ]
    found = [f"{result['questions']:,} questions"]
    for one in result["records"][:SHOWN]:
        verdict = "right" if one["score"] >= 1 else f"score {one['score']:.2f}"
        asked = " ".join(one["prompt"].split())[-120:]
        said = " ".join((one["answer"] or one["text"]).split())[:80]
        found.append(f"{one['run']}  {one['task']}  {one['shots']}-shot  {one['number']:>5}  {verdict}")
        found.append(f"  … {asked} → {said or '(nothing)'}   [{one['references'][0][:80]}]")
    return [printable(line) for line in found]
