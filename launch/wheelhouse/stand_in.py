"""Empty wheels in place of what a node has, so that pip can be asked what it would do there."""

import zipfile
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version


def write_stand_in(folder: Path, name: str, version: Version) -> Path:
    """A wheel of that name and version with nothing in it, which asks for nothing."""
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: bloomery\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{stem}.dist-info/{one},," for one in (*files, "RECORD")]
    with zipfile.ZipFile(path, "w") as archive:
        for one, text in {**files, "RECORD": "\n".join(record) + "\n"}.items():
            archive.writestr(f"{stem}.dist-info/{one}", text)
    return path


def some_version(wanted: SpecifierSet) -> Version:
    """A version that does, for a package of which a node only says that it is there.

    Of `>=2,<3` it is 2; of `<3` it is 0; of `>1` a large one.
    """
    named = [Version(one.version.removesuffix(".*")) for one in wanted]
    for version in (*sorted(named, reverse=True), Version("0"), Version("9999")):
        if wanted.contains(version, prereleases=True):
            return version
    return Version("0")  # pip will say what is wrong with it
