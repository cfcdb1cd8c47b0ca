"""Fetches the wheels that a node needs, and builds those that come as source only.

Rounds: what the wheels so far ask for and nobody has is fetched, then asked what it needs itself. pip chooses
each version for the node's platform; which lines of metadata count is decided by the node's own markers,
which pip would take from the machine that gathers.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

import launch
from data_prep.contract.settings import InputError
from launch.wheelhouse.needs import Needs, Wheel, needs, read_wheel
from launch.wheelhouse.node import Node

PACKAGES = ("data_prep", "pipeline", "launch")
ROUNDS = 20
"""A chain of requirements is shorter; a circle of versions that exclude one another is not."""
BUILD = {"DS_BUILD_OPS": "0"}
"""DeepSpeed compiles its kernels where it runs, when first asked for one."""


def gather(
    node: Node, extras: list[str], folder: Path, constraints: Path | None, tell: Callable[[str], None]
) -> Needs:
    """Fill a new folder with wheels until nothing is missing; returns what was asked for.

    Raises:
        InputError: something cannot be had for that node, or the node's own version of it does not do.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: there are files; a wheelhouse is gathered into a new folder")
    root = Requirement(f"bloomery[{','.join(extras)}]" if extras else "bloomery")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        _build([str(_copy(source_tree(), place / "source"))], place)
        wheels = dict(map(read_wheel, place.glob("*.whl")))
        for _ in range(ROUNDS):
            found = needs(root, wheels, node)
            if found.unfit:
                raise InputError(_unfit(found, node))
            if not found.missing:
                break
            tell(f"fetching {', '.join(sorted(found.missing))}")
            for name in found.missing & set(wheels):
                wheels.pop(name).path.unlink()
            _fetch(
                [f"{name}{found.wanted[name]}" for name in sorted(found.missing)],
                place,
                node,
                constraints,
                tell,
            )
            wheels = dict(map(read_wheel, place.glob("*.whl")))
        else:
            raise InputError(
                f"no versions of {', '.join(sorted(found.missing))} go together; narrow them by --constraint"
            )
        _keep(wheels, found, node, folder)
    return found


def source_tree() -> Path:
    """The checkout that this Bloomery runs from."""
    root = Path(launch.__file__).resolve().parents[1]
    if not (root / "pyproject.toml").is_file():
        raise InputError(f"{root}: no pyproject.toml; a wheelhouse is gathered from a checkout of Bloomery")
    return root


def _copy(tree: Path, copy: Path) -> Path:
    """The sources alone: a build leaves files beside them, and takes in those of earlier ones."""
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(tree / name, copy)
    for name in PACKAGES:
        shutil.copytree(tree / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def pip(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run this Python's pip."""
    command = [sys.executable, "-m", "pip", *map(str, arguments), "--disable-pip-version-check"]
    return subprocess.run(command, env={**os.environ, **BUILD}, capture_output=True, text=True)


def _fetch(
    wanted: list[str], place: Path, node: Node, constraints: Path | None, tell: Callable[[str], None]
) -> None:
    """Bring wheels; one that pip cannot find for the node is built from its source."""
    limits = ["--constraint", str(constraints)] if constraints else []
    while wanted:
        done = pip("download", "--quiet", "--no-deps", "--dest", place, *limits, *node.pip_options(), *wanted)
        if done.returncode == 0:
            return
        absent = _not_found(done.stderr, wanted)
        if absent is None:
            raise InputError(f"pip could not fetch {', '.join(wanted)}: {_last_error(done.stderr)}")
        tell(f"building {absent} from source")
        _build([absent, *limits], place)
        wanted = [one for one in wanted if one != absent]


def _not_found(said: str, wanted: list[str]) -> str | None:
    """Which of the wanted pip has no wheel of."""
    for line in re.findall(r"No matching distribution found for (.+)", said):
        try:
            name = canonicalize_name(Requirement(line).name)
        except InvalidRequirement:
            continue
        for one in wanted:
            if canonicalize_name(Requirement(one).name) == name:
                return one
    return None


def _build(arguments: list[str], place: Path) -> None:
    """A wheel from source, which must do for any Python 3 and any machine."""
    with tempfile.TemporaryDirectory() as scratch:
        done = pip("wheel", "--quiet", "--no-deps", "--wheel-dir", scratch, *arguments)
        if done.returncode != 0:
            raise InputError(
                f"{arguments[0]}: no wheel for that node, nor built from source: {_last_error(done.stderr)}"
            )
        [built] = Path(scratch).glob("*.whl")
        if not built.name.endswith("-none-any.whl"):
            raise InputError(
                f"{built.name}: no wheel for that node, and the source is compiled: build it on a node"
            )
        shutil.move(built, place / built.name)


def _last_error(said: str) -> str:
    lines = (
        [line for line in said.splitlines() if "rror" in line] or said.splitlines() or ["nothing was said"]
    )
    return lines[-1].strip()[:300]


def _unfit(found: Needs, node: Node) -> str:
    name = min(found.unfit)
    who = ", ".join(sorted(found.askers[name]))
    return (
        f"the node has {name} {node.has[name]}, and {found.wanted[name]} is wanted (by {who}): "
        f"leave it out of --has to bring another version, or install that there"
    )


def _keep(wheels: dict[str, Wheel], found: Needs, node: Node, folder: Path) -> None:
    """Move what is needed into the folder, and nothing that an earlier choice of versions brought."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, wheel in wheels.items():
        if name in found.wanted and name not in node.has:
            shutil.move(wheel.path, folder / wheel.path.name)
