"""What became of a corpus's input: every byte of its files, and every record in them, under a reason."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_prep.contract.names import shown
from data_prep.documents import Failure
from data_prep.sources.files import InputFile
from data_prep.sources.streams import LIMITS

SHOWN = 5
"""Files of other kinds that are named."""
NAMED = 100
"""Files of a part that are named for what is wrong with them."""
BEYOND = "beyond corpus.max_bytes"
"""Why a file was not read, or a document of the last part not taken."""
OF_FILES = ("damaged file", "not read to its end", *LIMITS.values())


class Account:
    """The counts of a part's input."""

    def __init__(self) -> None:
        self.files = self.bytes = self.documents = 0
        self.failures: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.unread: Counter[str] = Counter()
        self.damaged: list[str] = []

    def add(self, file: InputFile, row: Failure | Mapping[str, Any]) -> None:
        """Count a record for what became of it: a document's row, or a failure."""
        if isinstance(row, Failure):
            self.failures[row.reason] += 1
            if row.reason in OF_FILES:
                name = shown(f"{file.path}: {row.detail}")
                self.damaged += [name] if len(self.damaged) < NAMED else []
        else:
            self.documents += 1

    def read(self, size: int, left: int, reason: str) -> None:
        """Count a file's bytes: those that were read, and those that were not."""
        self.files += 1
        self.bytes += size + max(left, 0)
        if left > 0:
            self.unread[reason] += left

    def counts(self) -> dict[str, Any]:
        """The part's counts, which `total_input` adds up."""
        return {
            "documents": self.documents,
            "failures": dict(self.failures),
            "passed": dict(self.passed),
            "damaged": self.damaged,
            "input": {"files": self.files, "bytes": self.bytes, "unread": dict(self.unread)},
        }


def total_input(
    parts: Iterable[Mapping[str, Any]], untouched: Sequence[InputFile], others: Sequence[str]
) -> dict[str, Any]:
    """The input of a corpus by the counts of its parts; `untouched` files were not needed.

    `others` are files of other kinds in its folders: they are no input, and the first of them are named.
    """
    files = size = documents = 0
    unread, failures, passed = Counter[str](), Counter[str](), Counter[str]()
    for counts in parts:
        files, size = files + counts["input"]["files"], size + counts["input"]["bytes"]
        documents += counts["documents"]
        unread.update(counts["input"]["unread"])
        failures.update(counts["failures"])
        passed.update(counts["passed"])
    if untouched:
        files, size = files + len(untouched), size + sum(file.size for file in untouched)
        unread[BEYOND] = sum(file.size for file in untouched)
    return {
        "files": files,
        "bytes": size,
        "read": size - unread.total(),
        "unread": dict(unread.most_common()),
        "records": documents + failures.total() + passed.total(),
        "documents": documents,
        "failures": dict(failures.most_common()),
        "passed": dict(passed.most_common()),
        "of_other_kinds": {"files": len(others), "named": first_of(others)},
    }


def input_lines(told: Mapping[str, Any]) -> list[str]:
    """What `total_input` found, for people: sums whose parts are named."""
    unread = [f"{size:,} not read ({reason})" for reason, size in told["unread"].items()]
    parts = [f"{told['documents']:,} documents"]
    for word, counts in (("failures", told["failures"]), ("passed over", told["passed"])):
        parts.append(f"{sum(counts.values()):,} {word}")
    lines = [
        f"input: {told['files']:,} files, {told['bytes']:,} bytes = "
        + " + ".join([f"{told['read']:,} read", *unread]),
        f"  {told['records']:,} records = " + " + ".join(parts),
    ]
    lines += [f"    {count:>12,} {reason}" for reason, count in told["passed"].items()]
    others = told["of_other_kinds"]
    return [*lines, *(f"  {line}" for line in other_lines(others["files"], others["named"]))]


def other_lines(files: int, named: Sequence[str]) -> list[str]:
    """A line on files of other kinds, where there are any; some of them are named."""
    if not files:
        return []
    more = ", ..." if files > len(named) else ""
    return [f"{files:,} files of other kinds lie there too: {', '.join(named)}{more}"]


def first_of(others: Sequence[str]) -> list[str]:
    """The first few names of files of other kinds, as they may be shown."""
    return [*map(shown, sorted(others)[:SHOWN])]
