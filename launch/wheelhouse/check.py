"""Findings about a wheelhouse: whether pip can do with it, how large it is, and how it is installed."""

import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from launch.doctor.finding import Finding, fail, ok
from launch.wheelhouse.gather import gather, pip
from launch.wheelhouse.needs import Needs, needs, read_wheel
from launch.wheelhouse.node import Node
from launch.wheelhouse.stand_in import some_version, write_stand_in

MEGABYTE = 1_000_000
LARGEST_SHOWN = 5


def install_command(node: Node, extras: list[str], folder: Path) -> str:
    """What is typed on a node."""
    what = f"bloomery[{','.join(extras)}]" if extras else "bloomery"
    return f"python{node.python} -m pip install --no-index --find-links {folder} '{what}'"


def whole(node: Node, extras: list[str], folder: Path, found: Needs) -> Finding:
    """Whether pip, without an index, finds all it needs in the folder and on the node."""
    what = f"bloomery[{','.join(extras)}]" if extras else "bloomery"
    wheels = dict(map(read_wheel, folder.glob("*.whl")))
    this_python = replace(node, python=".".join(platform.python_version_tuple()[:2]))
    with tempfile.TemporaryDirectory() as scratch:
        # pip goes by the markers of the Python that it runs on, and would look for what only that needs.
        here = needs(Requirement(what), wheels, this_python)
        there = found.wanted.keys() & node.has.keys()
        for name in there | here.missing:
            wanted = found.wanted.get(name, here.wanted.get(name, SpecifierSet()))
            write_stand_in(Path(scratch), name, node.has.get(name) or some_version(wanted))
        places = ["--find-links", str(folder), "--find-links", scratch]
        done = pip("download", "--quiet", "--no-index", "--dest", scratch, *places, *node.pip_options(), what)
    if done.returncode == 0:
        own = f"with {len(there)} packages of the node's own" if there else "with nothing else"
        return ok("wheelhouse", f"{len(wheels)} wheels; {own} nothing is missing")
    return fail("wheelhouse", done.stderr.strip().splitlines()[-1][:300], "gather it with --constraint")


def size_of(folder: Path, at_most: float | None) -> Finding:
    """Whether the folder stays under so many megabytes (10^6 bytes), and what is largest in it."""
    sizes = {path.name: path.stat().st_size / MEGABYTE for path in folder.glob("*.whl")}
    total = sum(sizes.values())
    bound = f" of {at_most:g} MB at most" if at_most is not None else ""
    if at_most is None or total <= at_most:
        return ok("size", f"{total:.1f} MB{bound}")
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:LARGEST_SHOWN]
    words = ", ".join(f"{name.split('-')[0]} {megabytes:.1f}" for name, megabytes in largest)
    return fail("size", f"{total:.1f} MB{bound}: {words}", "name in --has what the nodes have of these")


def make(
    node: Node,
    extras: list[str],
    folder: Path,
    constraints: Path | None,
    at_most: float | None,
    tell: Callable[[str], None],
) -> Iterator[Finding]:
    """Gather a wheelhouse, and what there is to say of it; `InputError` where it cannot be made."""
    found = gather(node, extras, folder, constraints, tell)
    yield whole(node, extras, folder, found)
    yield size_of(folder, at_most)
    yield ok("on each node", install_command(node, extras, folder))
