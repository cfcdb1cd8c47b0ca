"""A wheelhouse from an index that is a folder of small wheels; no test reaches a network."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from data_prep.contract.settings import InputError
from launch.wheelhouse import gather as gathering
from launch.wheelhouse.check import install_command, make, size_of
from launch.wheelhouse.needs import needs, read_wheel
from launch.wheelhouse.node import Node
from launch.wheelhouse.stand_in import some_version, write_stand_in

PYTHON = os.environ.get("NODE_PYTHON") or shutil.which("python3.12")
IMPORTS = """
import importlib, pkgutil, data_prep.contract, launch, pipeline, safetensors, mlflow
imported = 0
for package in (data_prep.contract, pipeline, launch):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
            imported += 1
        except ModuleNotFoundError as error:  # a node brings torch; plots and the harness are of other extras
            assert error.name in ("torch", "matplotlib", "lm_eval"), error
assert imported > 250, imported
"""
NODE = Node("3.12", 28, "x86_64", {"torch": Version("2.11.0+cu130"), "numpy": None})


def wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """A small wheel that asks for something."""
    path = write_stand_in(folder, name, Version(version))
    with zipfile.ZipFile(path) as archive:
        files = {one: archive.read(one).decode() for one in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for one, text in files.items():
            asked = (
                "".join(f"Requires-Dist: {line}\n" for line in requires) if one.endswith("METADATA") else ""
            )
            archive.writestr(one, text + asked)
    return path


def read(folder: Path) -> dict[str, gathering.Wheel]:
    return dict(map(read_wheel, folder.glob("*.whl")))


def test_needs_follow_the_markers_and_extras_of_the_node(tmp_path: Path) -> None:
    wheel(
        tmp_path,
        "bloomery",
        "0.1.0",
        'torch>=2.11; extra == "engine"',
        'deep>=1; extra == "engine"',
        'other; extra == "prep"',
        "numpy>=1.26,<3",
    )
    wheel(
        tmp_path,
        "deep",
        "1.5",
        'old; python_version < "3.12"',
        'arm; platform_machine == "aarch64"',
        "plain<2",
    )
    found = needs(Requirement("bloomery[engine]"), read(tmp_path), NODE)
    assert set(found.wanted) == {"bloomery", "torch", "deep", "numpy", "plain"}
    assert (found.missing, found.unfit) == ({"plain"}, set())
    arm = Node("3.11", 28, "aarch64", NODE.has)
    assert needs(Requirement("bloomery[engine]"), read(tmp_path), arm).missing == {"plain", "old", "arm"}


def test_another_version_than_asked_for_is_missing_or_unfit(tmp_path: Path) -> None:
    wheel(tmp_path, "bloomery", "0.1.0", "torch<2.11", "deep<1")
    wheel(tmp_path, "deep", "1.5")
    found = needs(Requirement("bloomery"), read(tmp_path), NODE)
    assert (found.missing, found.unfit) == ({"deep"}, {"torch"})


@pytest.mark.parametrize(
    ("wanted", "version"), [(">=2,<3", "2"), ("<3", "0"), (">1", "9999"), ("~=4.2", "4.2")]
)
def test_some_version_that_does(wanted: str, version: str) -> None:
    assert some_version(Requirement(f"x{wanted}").specifier) == Version(version)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of an index, with a source that has no wheel; Bloomery is a wheel of it, too."""
    folder = tmp_path / "index"
    folder.mkdir()
    ours = wheel(
        folder, "bloomery", "0.1.0", 'torch>=2.11; extra == "engine"', 'source-only; extra == "engine"', "a"
    )
    wheel(folder, "a", "1.0", "b", 'gone-since; python_version < "3.12"')
    wheel(folder, "b", "2.0")
    wheel(folder, "unasked", "2.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")

    def build(arguments: list[str], place: Path) -> None:
        if arguments[0].startswith("source-only"):
            wheel(place, "source-only", "0.5", "numpy>=2")
        else:
            (place / ours.name).write_bytes(ours.read_bytes())

    monkeypatch.setattr(gathering, "_build", build)
    return folder


def test_a_wheelhouse_is_whole_and_has_nothing_else(index: Path, tmp_path: Path) -> None:
    folder, told = tmp_path / "wheels", []
    findings = list(make(NODE, ["engine"], folder, None, 60.0, told.append))
    assert [finding.status for finding in findings] == ["ok", "ok", "ok"]
    names = {path.name.split("-")[0] for path in folder.iterdir()}
    assert names == {"bloomery", "source_only", "a", "b"}
    assert "building source-only from source" in told
    assert findings[-1].found == (
        f"python3.12 -m pip install --no-index --find-links {folder} 'bloomery[engine]'"
    )
    with pytest.raises(InputError, match="a new folder"):
        list(make(NODE, ["engine"], folder, None, None, told.append))


def test_what_a_node_has_and_does_not_do_is_refused(index: Path, tmp_path: Path) -> None:
    old = Node("3.12", 28, "x86_64", {"torch": Version("2.9")})
    with pytest.raises(InputError, match=r"the node has torch 2.9, and >=2.11 is wanted \(by bloomery\)"):
        list(make(old, ["engine"], tmp_path / "wheels", None, None, print))


def test_too_large_says_of_what(tmp_path: Path) -> None:
    (tmp_path / "pyarrow-1-py3-none-any.whl").write_bytes(b"x" * 2_000_000)
    found = size_of(tmp_path, 1.5)
    assert (found.status, found.found) == ("fail", "2.0 MB of 1.5 MB at most: pyarrow 2.0")


def test_the_command_for_no_extra() -> None:
    assert install_command(NODE, [], Path("/w")).endswith("--find-links /w 'bloomery'")


@pytest.mark.by_hand
@pytest.mark.skipif(PYTHON is None or shutil.which("unshare") is None, reason="needs python3.12 and unshare")
def test_an_empty_python_without_network_imports_what_was_gathered(tmp_path: Path) -> None:
    """The nodes have torch and transformers; all else comes from an index, and then from the folder alone."""
    folder, node = tmp_path / "wheels", Node("3.12", 28, "x86_64", {"torch": Version("2.11.0")})
    findings = list(make(node, ["engine"], folder, None, 60.0, print))
    assert [finding.status for finding in findings] == ["ok", "ok", "ok"]
    there = tmp_path / "there"
    there.mkdir()
    write_stand_in(there, "torch", Version("2.11.0"))
    subprocess.run([PYTHON, "-m", "venv", tmp_path / "venv"], check=True)
    command = findings[-1].found.replace("python3.12", str(tmp_path / "venv/bin/python")).replace("'", "")
    alone = ["unshare", "--net", "--map-root-user"]
    subprocess.run([*alone, *command.split(), "--find-links", there], check=True)
    probe = [*alone, tmp_path / "venv/bin/python", "-c", IMPORTS]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(probe, check=True, cwd=tmp_path, env=environment)
