"""`bloomery doctor` as a user meets it: on this machine, and over hosts that are well and that are not."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.doctor import hosts as several
from launch.doctor.probe import COMPARED
from tests.distributed.hosts import Cluster, hosts, why_not
from tests.launch.cluster import small

DOCTOR = [sys.executable, "-c", "from launch.cli import main; main()", "doctor", "--json"]
over_hosts = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def rank(host: str = "a", **changes: Any) -> dict[str, Any]:
    """Facts of a rank."""
    versions = dict.fromkeys(("python", *COMPARED), "1")
    return {"host": host, "versions": versions, "gpu": "H100", "bytes": 1, "sees": None} | changes


def told(ranks: list[dict[str, Any]], **changes: Any) -> several.Trial:
    """A trial start in which all have met."""
    good = {"right": True, "seconds": 0.001, "bytes": 1 << 26, "bus_bytes_per_second": 1e11}
    line = json.dumps({"ranks": ranks, "all_reduce": good | changes})
    return several.read_trial(f"noise\nhost1: doctor-started a\nhost1: doctor-found {line}\nmore noise")


def statuses(trial: several.Trial, expected: int = 2) -> dict[str, str]:
    return {finding.name: finding.status for finding in several.judge(trial, expected)}


def test_a_good_start() -> None:
    found = statuses(told([rank("a"), rank("b")]))
    assert found == {"all-reduce": "ok", "hosts alike": "ok", "shared storage": "ok"}


@pytest.mark.parametrize(
    ("trial", "name", "status"),
    [
        (told([rank()], right=False), "all-reduce", "fail"),
        (told([rank("a"), rank("b")], bus_bytes_per_second=1e9), "all-reduce", "warn"),
        (told([rank("a"), rank("b", versions=rank()["versions"] | {"torch": "2"})]), "hosts alike", "fail"),
        (told([rank("a"), rank("b", gpu=None)]), "hosts alike", "fail"),
        (told([rank("a"), rank("b", sees="/x does not show it")]), "shared storage", "fail"),
    ],
)
def test_what_can_be_wrong(trial: several.Trial, name: str, status: str) -> None:
    assert statuses(trial)[name] == status


def test_ranks_that_do_not_start_or_do_not_meet() -> None:
    [finding] = several.judge(several.read_trial("host1: doctor-started a\nhost2: Error: no python"), 2)
    assert "1 of 2 processes started (on a): host2: Error: no python" in finding.found
    [finding] = several.judge(several.read_trial("doctor-started a\ndoctor-started b\nSomeError: x"), 2)
    assert "2 processes started and did not meet: SomeError: x" in finding.found


def test_this_machine(cluster_free_folder: Path) -> None:
    """In a world of two ranks over gloo, without hosts."""
    trial = several.try_start(cluster_free_folder, None, 2)
    found = {finding.name: finding for finding in several.judge(trial, 2)}
    assert {finding.status for finding in found.values()} == {"ok"}, trial.printed
    assert "2 processes on 1 host: 8 MiB in" in found["all-reduce"].found
    assert list(cluster_free_folder.iterdir()) == [], "the doctor's files are gone"


@pytest.fixture
def cluster_free_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in small.VARIABLES.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with hosts(2) as made:
        yield made


@over_hosts
def test_hosts_that_are_well(cluster: Cluster, tmp_path: Path, tiny_dataset: Path) -> None:
    recipe = small.recipe(tmp_path, tiny_dataset)
    command = [*DOCTOR, str(recipe), "--work", str(tmp_path / "work"), "--hostfile", str(cluster.hostfile())]
    printed = cluster.login.check([*command, "--set", "parallel.tensor=2"], small.VARIABLES)
    result = json.loads(printed.splitlines()[-1])
    found = {finding["name"]: finding for finding in result["findings"]}
    assert result["ok"]
    assert "2 processes on 2 hosts" in found["all-reduce"]["found"]
    assert found["shared storage"]["status"] == found["memory"]["status"] == "ok"
    assert found["layout"]["status"] == "warn"
    assert "1 tensor groups lie on several hosts" in found["layout"]["found"]


@over_hosts
def test_a_host_that_does_not_answer(cluster: Cluster, tmp_path: Path) -> None:
    cluster.cut(cluster.hosts[1])
    command = [*DOCTOR, "--work", str(tmp_path), "--hostfile", str(cluster.hostfile())]
    done = cluster.login.run(command, small.VARIABLES)
    cluster.restore(cluster.hosts[1])
    assert done.returncode == 1
    *_, last = json.loads(done.stdout.splitlines()[-1])["findings"]
    assert (last["name"], last["status"], last["found"]) == ("ssh", "fail", "no answer from host2")
