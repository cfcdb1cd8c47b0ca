"""The hosts that tests of many hosts stand on are apart, can be lost and found, and leave nothing behind."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributed.hosts import Cluster, children, hosts, wait, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
PING = ["bash", "-c", "exec 3<>/dev/tcp/host2/22"]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with hosts(2) as made:
        yield made


def test_hosts_have_names_addresses_and_processes_of_their_own(cluster: Cluster) -> None:
    printed = cluster.login.check(["pdsh", "-R", "ssh", "-w", "host1,host2", "hostname; hostname -I"])
    assert sorted(printed.split("\n")) == sorted(
        ["host1: host1", "host2: host2", "host1: 10.77.0.1 ", "host2: 10.77.0.2 ", ""]
    )
    sleeper = cluster.hosts[0].start(["sleep", "3600"])
    wait(lambda: len(cluster.hosts[0].processes()) == 1, "the process of the host")
    assert cluster.hosts[1].processes() == []
    cluster.hosts[0].kill_processes()
    assert sleeper.wait(300) != 0
    assert cluster.login.run(["ssh", "host1", "true"]).returncode == 0, "the host itself lives on"


def test_a_cut_cable_and_a_lost_host(cluster: Cluster) -> None:
    second = cluster.hosts[1]
    cluster.cut(second)
    assert cluster.hosts[0].run(["timeout", "1", *PING]).returncode == 124, "nobody answers, nobody refuses"
    cluster.restore(second)
    assert cluster.hosts[0].run(["timeout", "300", *PING]).returncode == 0
    cluster.power_off(second)
    assert cluster.hosts[0].run(["timeout", "1", *PING]).returncode != 0
    cluster.power_on(second)
    assert cluster.hosts[0].run(["timeout", "300", *PING]).returncode == 0


def test_nothing_outlives_a_killed_maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a temporary folder of its own, since whoever makes hosts beside this test would tidy up too."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        "from tests.distributed.hosts import hosts\n"
        "with hosts(1) as cluster:\n"
        "    cluster.hosts[0].start(['sleep', '61.25'])\n"
        "    print(*[host.first for host in (cluster.login, *cluster.hosts)], cluster.folder, flush=True)\n"
        "    input()\n"
    )
    maker = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert maker.stdout is not None
    *firsts, folder = maker.stdout.readline().split()
    descendants = [*map(int, firsts), *children(maker.pid)]
    assert len(descendants) == 5
    maker.kill()
    maker.communicate()
    deadline = time.monotonic() + 300
    while alive := [pid for pid in descendants if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, f"still there: {alive}"
        time.sleep(0.05)
    assert Path(folder).exists(), "a killed process cannot tidy its own files"
    with hosts(0):
        assert not Path(folder).exists()
