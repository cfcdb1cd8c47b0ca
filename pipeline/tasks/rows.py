"""Rows of files, whose cells are asked for by column: what is missing or of another type is one sentence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_prep.contract.cleaning import clean
from data_prep.contract.reading import printable
from data_prep.contract.settings import InputError


@dataclass(frozen=True)
class Row:
    """One row, and the words for where it stands."""

    where: str
    values: Mapping[str, Any]

    def cell(self, column: str) -> Any:
        """What stands there. `InputError` where there is no such column."""
        if column not in self.values:
            found = printable(", ".join(map(str, self.values)))[:200]
            raise InputError(f"{self.where}: no column {column!r}; there is {found or 'none'}")
        return self.values[column]

    def has(self, column: str) -> bool:
        """Whether anything stands there."""
        return self.values.get(column) not in (None, "")

    def text(self, column: str) -> str:
        """A text that is not empty."""
        found = self.cell(column)
        if not isinstance(found, str):
            raise self.wrong(column, found, "a text is expected")
        if not (text := clean(found).strip()):
            raise InputError(f"{self.where}: {column} is empty; a text is expected")
        return text

    def texts(self, column: str) -> list[str]:
        """Several of them, at least one."""
        found = self.cell(column)
        if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
            raise self.wrong(column, found, "a list of texts is expected")
        return [clean(one) for one in found]

    def label(self, column: str) -> str:
        """A label: a text or a whole number."""
        found = self.cell(column)
        if found is None or (isinstance(found, str) and not found.strip()):
            raise InputError(f"{self.where}: {column} is empty; a label is expected")
        if isinstance(found, bool | int | str):
            return clean(str(found)).strip()
        if isinstance(found, float) and found.is_integer():
            return str(int(found))
        raise self.wrong(column, found, "a label is expected")

    def number(self, column: str) -> float:
        """A finite number, or a text that spells one."""
        found = self.cell(column)
        try:
            number = math.nan if isinstance(found, bool) else float(found)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise self.wrong(column, found, "a finite number is expected")
        return number

    def wrong(self, column: str, found: Any, wanted: str) -> InputError:
        """The sentence about a cell."""
        return InputError(f"{self.where}: {column} is {printable(repr(found)[:80])}; {wanted}")
