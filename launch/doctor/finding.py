"""What a check has found."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    name: str
    """What was checked."""
    status: Status
    """`fail` where a run would not work, `warn` where it would work badly or with less."""
    found: str
    """What is there."""
    advice: str = ""
    """What to do about it."""

    def line(self) -> str:
        """For people."""
        advice = f"\n{'':24}-> {self.advice}" if self.advice else ""
        return f"{self.status:<6}{self.name:<18}{self.found}{advice}"


def ok(name: str, found: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", found)


def warn(name: str, found: str, advice: str) -> Finding:
    """It works, but badly or with less."""
    return Finding(name, "warn", found, advice)


def fail(name: str, found: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(name, "fail", found, advice)


def size(number: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB" if number < 10240 else f"{number / 1024:.1f} TiB"


def host_memory() -> int:
    """Bytes of the host, or of the container where that has less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(physical, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return physical  # no limit is written as `max`
