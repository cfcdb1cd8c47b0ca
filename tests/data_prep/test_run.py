"""The stage as a process of its own on Ray: any number of workers, killed, started again."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep.contract.receipt import read_receipt
from tests.data_prep.helpers import fingerprints, prep_config, story, write_jsonl

PROGRAM = """
import sys
from pathlib import Path
from data_prep.config import PrepConfig
from data_prep.run import prepare
from data_prep.storage import Storage
if __name__ == "__main__":
    prepare(PrepConfig.model_validate_json(sys.argv[1]), Storage(Path(sys.argv[2])))
    assert "torch" not in sys.modules
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(8):
        write_jsonl(folder / f"{number}.jsonl", [story(100 * number + i, 600) for i in range(100)])
    return folder


def start(corpus: Path, out: Path, workers: int, address: str = "") -> "subprocess.Popen[str]":
    config = prep_config([corpus], corpus={"workers": workers, "part_bytes": 1})
    command = [sys.executable, "-c", PROGRAM, config.model_dump_json(), str(out)]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    if address:
        environment["RAY_ADDRESS"] = address
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
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    finish(corpus, out, workers=2)
    return out


def test_the_second_run_skips(corpus: Path, undisturbed: Path) -> None:
    before = (undisturbed / "receipt.json").stat().st_mtime_ns
    output = finish(corpus, undisturbed, workers=1)
    assert "is done already" in output
    assert (undisturbed / "receipt.json").stat().st_mtime_ns == before


def wait_for_parts(process: "subprocess.Popen[str]", out: Path, wanted: int) -> None:
    """Until that many parts are done."""
    while process.poll() is None and len(list((out / "parts").glob("*/*.json"))) < wanted:
        time.sleep(0.05)


def test_killed_at_a_random_moment_with_another_number_of_workers(
    corpus: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """SIGKILL of the whole process group: driver, raylet and workers alike."""
    process = start(corpus, tmp_path / "out", workers=1)
    wait_for_parts(process, tmp_path / "out", random.Random(time.time_ns()).randint(1, 12))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert read_receipt(tmp_path / "out") is None
    finish(corpus, tmp_path / "out", workers=2)
    assert fingerprints(tmp_path / "out") == fingerprints(undisturbed)


def test_a_cluster_of_two_nodes_that_loses_one(
    corpus: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        second = cluster.add_node(**node)
        process = start(corpus, tmp_path / "out", workers=1, address=cluster.address)
        wait_for_parts(process, tmp_path / "out", 3)
        cluster.remove_node(second, allow_graceful=False)
        wait(process)
    finally:
        cluster.shutdown()
    assert fingerprints(tmp_path / "out") == fingerprints(undisturbed)


def test_an_address_where_no_cluster_is(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_prep.cluster import Cluster
    from data_prep.contract.settings import InputError

    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    with pytest.raises(InputError, match="RAY_ADDRESS=nonsense"), Cluster() as cluster:
        list(cluster.execute("step", lambda output: {}, []))
