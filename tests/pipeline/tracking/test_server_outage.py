"""A real MLflow server that is stopped for the middle third of a run and started again."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.tracking import courier
from tests.pipeline.tracking.store import Store, once, pretraining

STEPS = 300


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[str]:
    """An MLflow server on loopback with its store and artifacts in `folder`."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", process, folder / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_healthy(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.time() + 120
    while time.time() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


def test_every_step_is_there_once_after_an_outage(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow.server", reason="mlflow-skinny has no server")
    monkeypatch.setattr(courier, "SEND_EVERY", 0.2)
    monkeypatch.setattr(courier, "RETRY_AT_MOST", 0.5)
    shutil.copy(empty_store, tmp_path / "server.db")
    port, said = free_port(), []
    work = tmp_path / "demo"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    run = pretraining(work, said)
    run.start_from(0)

    def train(steps: range) -> float:
        slowest = 0.0
        for step in steps:
            started = time.perf_counter()
            run.log(step, {"loss": 1 / step, "learning_rate": 0.1})
            slowest = max(slowest, time.perf_counter() - started)
            time.sleep(0.01)
        return slowest

    with mlflow_server(tmp_path, port):
        train(range(1, STEPS // 3 + 1))
        wait_for(lambda: run.record.stream("metrics.jsonl").sent.step > 0)
    slowest = train(range(STEPS // 3 + 1, 2 * STEPS // 3 + 1))
    wait_for(lambda: bool(said))
    assert run.record.stream("metrics.jsonl").sent.step < 2 * STEPS // 3
    assert slowest < 1.0
    with mlflow_server(tmp_path, port) as uri:
        train(range(2 * STEPS // 3 + 1, STEPS + 1))
        (tmp_path / "plot.png").write_bytes(b"png")
        run.artifact(tmp_path / "plot.png")
        run.close()
        store = Store(uri)
        for metric in ("loss", "learning_rate"):
            assert store.steps("pretrain", metric) == once(range(1, STEPS + 1))
        assert store.run("pretrain").info.status == "FINISHED"
        assert store.artifacts("pretrain") == {"plot.png"}
    assert [words in line for words, line in zip(("cannot be used", "is back"), said, strict=True)] == [
        True,
        True,
    ]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline
        time.sleep(0.05)
