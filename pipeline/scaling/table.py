"""A table of finished runs, from CSV or JSON lines: named columns of positive numbers, checked.

    parameters,tokens,flops,loss
    44e6,1.2e9,,3.91

Column names are compared without case, and with blanks, dashes and dots as underscores; ALIASES has what
else a column may be called. Of parameters, tokens and FLOPs any two give the third by C = 6ND, and
`Runs.flops_are` says whether that was done. Whatever is wrong with a table is one sentence.
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from data_prep.contract.settings import InputError
from pipeline.scaling.minimize import Array

ALIASES: Mapping[str, tuple[str, ...]] = {
    "parameters": ("params", "n", "model_size", "total_parameters", "total_params", "num_params"),
    "non_embedding_parameters": ("non_embedding_params", "params_non_embedding", "n_non_embedding"),
    "tokens": ("d", "training_tokens", "train_tokens", "num_tokens"),
    "flops": ("flop", "c", "compute", "training_flop", "training_flops", "train_flops", "model_flops"),
    "loss": ("l", "final_loss", "validation_loss", "val_loss", "test_loss"),
    "unique_tokens": ("u", "unique", "data_budget"),
    "batch_tokens": ("batch", "batch_size_tokens", "b"),
    "steps": ("s", "step", "training_steps"),
    "run": ("name", "run_name", "run_id"),
}
"""Each column and what else it may be called: parameters of the whole model, tokens read in all passes,
training FLOPs, loss in nats per token, distinct tokens, tokens in a batch, steps, the run of a row."""
NAMES = {alias: name for name, aliases in ALIASES.items() for alias in (name, *aliases)}
LEVEL = 1e-9
"""Slopes of log loss over log FLOPs that are none."""
JSON_LINES = (".jsonl", ".ndjson", ".json")
Count = Literal["total", "non-embedding"]


@dataclass(frozen=True)
class Runs:
    """One row a run, or a moment of one where several rows have the same `run`."""

    path: str
    columns: Mapping[str, Array]
    run: tuple[str, ...]
    """Of each row; its number where the table has no such column."""
    flops_are: Literal["given", "6ND"]
    counts: Count = "total"
    """What the column `parameters` counts."""

    def __len__(self) -> int:
        return len(self.run)

    def column(self, name: str, form: str) -> Array:
        """The values [R]; `InputError` where the table has no such column."""
        if name not in self.columns:
            others = ", ".join(ALIASES[name][:3])
            there = ", ".join(self.columns)
            raise InputError(
                f"{self.path}: no column {name} (or {others}), which form {form} needs; there are {there}"
            )
        return self.columns[name]

    def only(self, rows: np.ndarray) -> "Runs":
        """Some rows, by a mask or by numbers."""
        kept = np.arange(len(self))[rows]
        columns = {name: values[kept] for name, values in self.columns.items()}
        return replace(self, columns=columns, run=tuple(self.run[one] for one in kept))

    def counted(self, counts: Count) -> "Runs":
        """With `parameters` counted another way where the table has both; else the runs themselves.

        FLOPs that are 6ND follow the parameters.
        """
        if counts == self.counts or "non_embedding_parameters" not in self.columns:
            return self
        columns = dict(self.columns)
        columns["parameters"] = columns["non_embedding_parameters"]
        if self.flops_are == "6ND" and "tokens" in columns:
            columns["flops"] = 6 * columns["parameters"] * columns["tokens"]
        return replace(self, columns=columns, counts=counts)


def read_table(path: Path, drop_highest: int = 0) -> Runs:
    """The runs of a table, without the rows that have the `drop_highest` highest losses.

    `InputError` where the file is not such a table, a value is no positive number, or the loss does not fall.
    """
    raw, lines = _rows(path)
    names = _columns(path, raw)
    values = {
        name: np.array([_number(path, line, given, row[given]) for line, row in zip(lines, raw, strict=True)])
        for name, given in names.items()
        if name != "run" and any(str(row[given]).strip() for row in raw)
    }
    runs = [str(row[names["run"]]) for row in raw] if "run" in names else [str(line) for line in lines]
    if "loss" not in values:
        raise InputError(f"{path}: no column loss (or {', '.join(ALIASES['loss'][:3])})")
    found = _completed(str(path), values, tuple(runs))
    if drop_highest:
        found = found.only(
            np.sort(np.argsort(found.columns["loss"], kind="stable")[: max(0, len(raw) - drop_highest)])
        )
    if len(found) < 4:
        raise InputError(f"{path}: {len(found)} runs are too few for a law; the simplest needs 4")
    _falls(found)
    return found


def varies(runs: Runs, name: str, form: str, least: int = 3) -> Array:
    """A column with at least so many different values, else `InputError`."""
    values = runs.column(name, form)
    different = len(np.unique(np.round(np.log(values), 6)))
    if different < least:
        only = f"all runs have {values[0]:.4g}" if different == 1 else f"there are only {different} values"
        raise InputError(f"{runs.path}: {only} in column {name}; form {form} needs {least} different ones")
    return values


def enough(runs: Runs, coefficients: int, form: str) -> None:
    """`InputError` where there are not more runs than coefficients."""
    if len(runs) <= coefficients:
        raise InputError(
            f"{runs.path}: {len(runs)} runs are too few; form {form} has {coefficients} coefficients"
        )


def _rows(path: Path) -> tuple[list[dict[str, object]], list[int]]:
    """Rows as written, and the line in the file that each stands in."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; a table of runs is CSV or JSON lines")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            pairs = list(_json(path, file) if path.suffix.lower() in JSON_LINES else _csv(path, file))
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; a table of runs is CSV or JSON lines") from None
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV table ({error})") from None
    if not pairs:
        raise InputError(f"{path}: the table has no rows")
    return [row for _, row in pairs], [line for line, _ in pairs]


def _csv(path: Path, file: Iterator[str]) -> Iterator[tuple[int, dict[str, object]]]:
    reader = csv.DictReader(file, restkey="", strict=True)
    for row in reader:
        if "" in row and row[""] not in (None, "", [""]):
            raise InputError(f"{path}, line {reader.line_num}: more cells than the first line has names")
        yield reader.line_num, {name: value or "" for name, value in row.items() if name}


def _json(path: Path, file: Iterator[str]) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise InputError(f"{path}, line {number}: not a JSON object")
            yield number, {name: "" if value is None else value for name, value in row.items()}


def _columns(path: Path, rows: list[dict[str, object]]) -> dict[str, str]:
    """Which column of the file each of ours is; a row without it is refused."""
    found: dict[str, str] = {}
    for given in rows[0]:
        name = NAMES.get("_".join(given.strip().lower().replace("-", " ").replace(".", " ").split()))
        if name in found:
            raise InputError(f"{path}: columns {found[name]} and {given} are both {name}; leave one out")
        if name:
            found[name] = given
    for number, row in enumerate(rows, 1):
        for given in found.values():
            if given not in row:
                raise InputError(f"{path}, row {number}: no {given}")
    return found


def _number(path: Path, line: int, column: str, given: object) -> float:
    text = str(given).strip().replace("_", "")
    try:
        value = math.nan if isinstance(given, bool) else float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        shown = text[:40] or "nothing"
        raise InputError(f"{path}, line {line}: {column} is {shown}; a positive number belongs there")
    return value


def _completed(path: str, values: dict[str, Array], run: tuple[str, ...]) -> Runs:
    """With the third of parameters, tokens and FLOPs."""
    counts: Count = "total"
    if "parameters" not in values and "non_embedding_parameters" in values:
        values["parameters"], counts = values["non_embedding_parameters"], "non-embedding"
    given: Literal["given", "6ND"] = "given"
    known = {"parameters", "tokens", "flops"} & set(values)
    if known == {"parameters", "tokens"}:
        with np.errstate(over="ignore"):
            values["flops"], given = 6 * values["parameters"] * values["tokens"], "6ND"
    elif known == {"parameters", "flops"}:
        values["tokens"], given = values["flops"] / (6 * values["parameters"]), "6ND"
    elif known == {"tokens", "flops"}:
        values["parameters"], given = values["flops"] / (6 * values["tokens"]), "6ND"
    for name, column in values.items():
        if not (np.isfinite(column) & (column > 0)).all():
            raise InputError(f"{path}: {name} by C = 6ND is out of range; are the units right?")
    return Runs(path, values, run, given, counts)


def _falls(runs: Runs) -> None:
    """`InputError` where the loss rises with what was spent, which no scaling law describes."""
    if "flops" not in runs.columns:
        return
    spent, loss = np.log(runs.columns["flops"]), np.log(runs.columns["loss"])
    spread = spent - spent.mean()
    square = float((spread**2).sum())
    if square > LEVEL and (spread * loss).sum() >= -LEVEL * square:
        least, most = runs.columns["loss"][np.argmin(spent)], runs.columns["loss"][np.argmax(spent)]
        raise InputError(
            f"{runs.path}: the loss does not fall with compute ({least:.4g} at the least FLOPs, {most:.4g} "
            "at the most); a scaling law needs runs that improve with it"
        )
