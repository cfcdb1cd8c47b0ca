"""The nodes that a wheelhouse is for: their Python, their platform, and what is installed there."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from data_prep.contract.settings import InputError

OLDER_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""What wheels for these minor versions of glibc 2 are also called."""
FIRST_GLIBC = 5
LONGEST_FILE = 1 << 20  # bytes; a list of packages is some kilobytes


@dataclass(frozen=True)
class Node:
    """What wheels must fit."""

    python: str
    """Version of Python, as in 3.12."""
    glibc: int
    """Minor version of glibc 2, as 28 in manylinux_2_28."""
    machine: str
    """As in x86_64 or aarch64."""
    has: dict[str, Version | None] = field(default_factory=dict)
    """Packages that are there by canonical name; None where the version was not said."""

    def platforms(self) -> list[str]:
        """Platform tags that wheels may have, the newest first."""
        tags = []
        for minor in range(self.glibc, FIRST_GLIBC - 1, -1):
            tags.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in OLDER_NAMES:
                tags.append(f"{OLDER_NAMES[minor]}_{self.machine}")
        return [*tags, f"linux_{self.machine}"]

    def markers(self) -> dict[str, str]:
        """What environment markers (PEP 508) are evaluated with there."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }

    def pip_options(self) -> list[str]:
        """What tells pip to choose wheels for such a node and nothing else."""
        options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={self.python}"]
        return options + [f"--platform={tag}" for tag in self.platforms()]


def read_node(python: str, platform: str, has: list[str]) -> Node:
    """A node from what the command line says; `InputError` where that is not to be understood."""
    if not re.fullmatch(r"3\.1[12]", python):
        raise InputError(f"--python: '{python}' is not a Python that Bloomery runs on; 3.11 or 3.12 is")
    found = re.fullmatch(r"manylinux_2_(\d{1,2})_(x86_64|aarch64)", platform)
    if not found or int(found[1]) < FIRST_GLIBC:
        raise InputError(f"--platform: '{platform}' is no platform of wheels, such as manylinux_2_28_x86_64")
    return Node(python, int(found[1]), found[2], read_packages(has))


def read_packages(has: list[str]) -> dict[str, Version | None]:
    """Names and versions from `name`, `name==version`, or files of such lines, as `pip freeze` prints them.

    A line that names a file or an address (`name @ file:///...`) has no version to go by. Lines of options,
    comments and editable installs (`-e ...`, `# ...`) are passed over.
    """
    packages: dict[str, Version | None] = {}
    for given in has:
        lines = _lines(Path(given)) if Path(given).is_file() else [given]
        for line in (one.split(" #")[0].strip() for one in lines):
            if line and not line.startswith(("-", "#")):
                packages.update([_package(line, given)])
    return packages


def _lines(path: Path) -> list[str]:
    if path.stat().st_size > LONGEST_FILE:
        raise InputError(
            f"--has: {path} is longer than any list of packages; one name==version a line is expected"
        )
    try:
        return path.read_text().splitlines()
    except UnicodeDecodeError:
        raise InputError(f"--has: {path} is not a text; one name==version a line is expected") from None


def _package(line: str, given: str) -> tuple[str, Version | None]:
    try:
        read = Requirement(line)
        [pinned] = read.specifier or [None]
        version = Version(pinned.version) if pinned and pinned.operator in ("==", "===") else None
    except (InvalidRequirement, InvalidVersion, ValueError):
        raise InputError(
            f"--has: '{line[:80]}' in {given[:80]}: a name, name==version or file is expected"
        ) from None
    if read.specifier and version is None:
        raise InputError(f"--has: '{line[:80]}' leaves the version open; what a node has is name==version")
    return canonicalize_name(read.name), version
