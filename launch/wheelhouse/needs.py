"""What wheels ask for on a node, and what of that is neither among them nor there."""

import email
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from launch.wheelhouse.node import Node


@dataclass(frozen=True)
class Wheel:
    """One file of a wheelhouse."""

    path: Path
    version: Version
    requires: list[Requirement]


@dataclass
class Needs:
    """What follows from a requirement, all the way down."""

    wanted: dict[str, SpecifierSet] = field(default_factory=dict)
    """Every package by canonical name, with all that is asked of its version."""
    askers: dict[str, set[str]] = field(default_factory=dict)
    """Who asks for it."""
    missing: set[str] = field(default_factory=set)
    """Those that are nowhere, or among the wheels in a version that does not do."""
    unfit: set[str] = field(default_factory=set)
    """Those that the node has in a version that does not do."""


def read_wheel(path: Path) -> tuple[str, Wheel]:
    """A wheel's name and what its metadata say."""
    name, version, _, _ = parse_wheel_filename(path.name)
    with zipfile.ZipFile(path) as archive:
        [metadata] = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        told = email.message_from_bytes(archive.read(metadata))
    return canonicalize_name(name), Wheel(
        path, version, [Requirement(one) for one in told.get_all("Requires-Dist", [])]
    )


def needs(root: Requirement, wheels: Mapping[str, Wheel], node: Node) -> Needs:
    """Walk from a requirement through the metadata of the wheels, by the markers of the node."""
    found, seen = Needs(), set()
    to_do = [(root, "the command")]
    while to_do:
        asked, asker = to_do.pop()
        name = canonicalize_name(asked.name)
        if (step := (name, str(asked.specifier), frozenset(asked.extras), asker)) in seen:
            continue
        seen.add(step)
        found.wanted[name] = found.wanted.get(name, SpecifierSet()) & asked.specifier
        found.askers.setdefault(name, set()).add(asker)
        if name not in node.has and name in wheels:
            to_do += [
                (one, name) for one in wheels[name].requires if _applies(one.marker, asked.extras, node)
            ]
    for wanted, specifier in found.wanted.items():
        if wanted in node.has:
            version = node.has[wanted]
            if version is not None and not specifier.contains(version, prereleases=True):
                found.unfit.add(wanted)
        elif wanted not in wheels or not specifier.contains(wheels[wanted].version, prereleases=True):
            found.missing.add(wanted)
    return found


def _applies(marker: Marker | None, extras: set[str], node: Node) -> bool:
    """Whether a line of metadata counts on that node, for one of the extras that are asked for."""
    if marker is None:
        return True
    return any(marker.evaluate(node.markers() | {"extra": extra}) for extra in extras or {""})
