"""The stage as a process of its own on Ray: any number of workers, killed, started again."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_prep.contract.receipt import read_receipt
from data_prep.contract.settings import InputError
from data_prep.run import prepare
from data_prep.storage import Storage
from tests.data_prep.helpers import fingerprints, prep_config, story, write_jsonl

PROGRAM = """
import sys
from pathlib import Path
from data_prep.config import PrepConfig
from data_prep.run import prepare
from data_prep.storage import Storage
if __name__ == "__main__":
    prepare(PrepConfig.model_validate_json(sys.argv[1]), Storage(Path(sys.argv[2]), sys.argv[3]))
    assert "torch" not in sys.modules
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(8):
        write_jsonl(folder / f"{number}.jsonl", [story(100 * number + i, 600) for i in range(100)])
    return folder


def start(
    corpus: Path, out: Path, workers: int, cluster: str = "", address: str = ""
) -> "subprocess.Popen[str]":
    settings = {"workers": workers, "part_bytes": 1, "dedup": {"lines": {"enabled": True}}}
    config = prep_config([corpus], corpus=settings)
    command = [sys.executable, "-c", PROGRAM, config.model_dump_json(), str(out), address]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    if cluster:
        environment["RAY_ADDRESS"] = cluster
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(corpus: Path, out: Path, workers: int) -> str:
    return wait(start(corpus, out, workers))


def wait(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    output = finish(corpus, out, workers=2)
    assert "Warning" not in output, output  # what Ray has to say is no user's concern
    return out


def test_the_second_run_skips(corpus: Path, undisturbed: Path) -> None:
    before = (undisturbed / "receipt.json").stat().st_mtime_ns
    output = finish(corpus, undisturbed, workers=1)
    assert "is done already" in output
    assert (undisturbed / "receipt.json").stat().st_mtime_ns == before


def test_the_second_of_two_is_told_of_the_first_whose_killed_worker_is_replaced(
    corpus: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_prep.contract.lock.PATIENCE", 0.0)
    first = start(corpus, tmp_path / "out", workers=1)
    wait_for_parts(first, Storage(tmp_path / "out"), 1)
    with pytest.raises(InputError, match=f"out: process {first.pid} on .* is preparing here"):
        prepare(prep_config([corpus], seed=2), Storage(tmp_path / "out"))
    kill_a_worker(first)
    assert "shards: " in wait(first)
    assert fingerprints(tmp_path / "out") == fingerprints(undisturbed)


def wait_for_parts(process: "subprocess.Popen[str]", storage: Storage, wanted: int) -> None:
    """Until that many parts are done."""
    while process.poll() is None:
        found = storage.files(storage.folder / "parts")
        if sum(path.suffix == ".json" for path in found) >= wanted:
            return
        time.sleep(0.1)


def test_killed_at_a_random_moment_with_another_number_of_workers(
    corpus: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """SIGKILL of the whole process group: driver, raylet and workers alike."""
    process = start(corpus, tmp_path / "out", workers=1)
    wait_for_parts(process, Storage(tmp_path / "out"), random.Random(time.time_ns()).randint(1, 12))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert read_receipt(tmp_path / "out") is None
    finish(corpus, tmp_path / "out", workers=2)
    assert fingerprints(tmp_path / "out") == fingerprints(undisturbed)


def kill_a_worker(process: "subprocess.Popen[str]") -> None:
    """SIGKILL to one of the processes in which parts are done."""
    while process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if " ".join(child.cmdline()).startswith("ray::Map("):
                    child.kill()
                    return
    raise AssertionError("it ended before")


@pytest.mark.slow
@pytest.mark.parametrize("address", ["s3://crawl/nodes/dataset", ""])
def test_a_cluster_of_two_nodes_that_loses_one(
    corpus: Path,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bucket: Any,
    address: str,
) -> None:
    """On a shared folder; and in a bucket, where each node has nothing but a temporary folder of its own."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    def node(name: str) -> dict[str, Any]:
        (tmp_path / name).mkdir()
        environment = {"TMPDIR": str(tmp_path / name)}
        size = {"num_cpus": 1, "object_store_memory": 100 << 20}
        return {**size, "include_dashboard": False, "env_vars": environment}

    storage = Storage(tmp_path / "out", address)
    cluster = Cluster(initialize_head=True, head_node_args=node("first"))
    try:
        second = cluster.add_node(**node("second"))
        process = start(corpus, tmp_path / "out", workers=1, cluster=cluster.address, address=address)
        wait_for_parts(process, storage, 3)
        cluster.remove_node(second, allow_graceful=False)
        wait(process)
    finally:
        cluster.shutdown()
    if address:
        bucket.get(address, str(tmp_path / "back"), recursive=True)
        assert not list((tmp_path / "out").rglob("*.tar"))
    assert fingerprints(tmp_path / ("back" if address else "out")) == fingerprints(undisturbed)


def test_an_address_where_no_cluster_is(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_prep.cluster import Cluster

    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    with pytest.raises(InputError, match="RAY_ADDRESS=nonsense"), Cluster() as cluster:
        list(cluster.execute("step", lambda output: {}, []))
