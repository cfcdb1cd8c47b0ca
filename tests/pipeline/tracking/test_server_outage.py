"""A real MLflow server that is stopped for the middle third of a run, or slow, or full."""

import resource
import shutil
import time
from functools import partial
from pathlib import Path

import pytest

from pipeline.tracking import mlflow_sender
from tests.pipeline.tracking.servers import Proxy, free_port, held_up, mlflow_server, wait_for
from tests.pipeline.tracking.store import Store, once, pretraining

STEPS = 300


def test_every_step_is_there_once_after_an_outage(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow.server", reason="mlflow-skinny has no server")
    monkeypatch.setattr(mlflow_sender, "SEND_EVERY", 0.2)
    monkeypatch.setattr(mlflow_sender, "RETRY_AT_MOST", 0.5)
    shutil.copy(empty_store, tmp_path / "server.db")
    port, said = free_port(), []
    work = tmp_path / "demo"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    run = pretraining(work, said)
    run.start_from(0)

    def train(steps: range) -> float:
        slowest = 0.0
        for step in steps:
            numbers = {"loss": 1 / step, "learning_rate": 0.1}
            slowest = max(slowest, held_up(partial(run.log, step, numbers)))
            time.sleep(0.01)
        return slowest

    with mlflow_server(tmp_path, port):
        train(range(1, STEPS // 3 + 1))
        wait_for(lambda: run.record.stream("metrics.jsonl").sent.step > 0)
    slowest = train(range(STEPS // 3 + 1, 2 * STEPS // 3 + 1))
    wait_for(lambda: bool(said))
    assert run.record.stream("metrics.jsonl").sent.step < 2 * STEPS // 3
    assert slowest < 1.0
    with mlflow_server(tmp_path, port) as server:
        train(range(2 * STEPS // 3 + 1, STEPS + 1))
        (tmp_path / "plot.png").write_bytes(b"png")
        run.artifact(tmp_path / "plot.png")
        run.close()
        store = Store(server.uri)
        for metric in ("loss", "learning_rate"):
            assert store.steps("pretrain", metric) == once(range(1, STEPS + 1))
        assert store.run("pretrain").info.status == "FINISHED"
        assert store.artifacts("pretrain") == {"plot.png"}
    assert [words in line for words, line in zip(("cannot be used", "is back"), said, strict=True)] == [
        True,
        True,
    ]


def test_every_step_is_there_once_after_a_server_was_full_and_slow(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full: a proxy says so, then its own disk takes no byte more. Slow: it stores, and answers late."""
    pytest.importorskip("mlflow.server", reason="mlflow-skinny has no server")
    monkeypatch.setattr(mlflow_sender, "SEND_EVERY", 0.1)
    monkeypatch.setattr(mlflow_sender, "RETRY_AT_MOST", 0.5)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    shutil.copy(empty_store, tmp_path / "server.db")
    said: list[str] = []
    with mlflow_server(tmp_path, free_port()) as server:
        proxy = Proxy(server.uri, delay=3.0)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
        run = pretraining(tmp_path / "demo", said)
        run.start_from(0)
        step = 0

        def train(steps: int) -> None:
            nonlocal step
            for step in range(step + 1, step + steps + 1):  # noqa: B020 - counts on
                assert held_up(partial(run.log, step, {"loss": 1 / step})) < 1.0
                time.sleep(0.01)

        def sent() -> int:
            return run.record.stream("metrics.jsonl").sent.step

        train(40)
        wait_for(lambda: sent() > 0)
        proxy.mode = "507"
        train(40)
        wait_for(lambda: len(said) == 1)
        proxy.mode = "pass"
        wait_for(lambda: len(said) == 2 and sent() == step)
        server.limit_files(0)
        train(40)
        wait_for(lambda: len(said) == 3)
        server.limit_files(resource.RLIM_INFINITY)
        wait_for(lambda: len(said) == 4 and sent() == step)
        proxy.mode, before = "slow", proxy.requests
        train(40)
        wait_for(lambda: len(said) == 5 and proxy.requests > before + 2)
        assert sent() < step
        proxy.mode = "pass"
        train(40)
        run.close()
        store = Store(server.uri)
        assert store.steps("pretrain", "loss") == once(range(1, step + 1))
        assert [("cannot be used" in line, "is back" in line) for line in said] == 3 * [
            (True, False),
            (False, True),
        ]
        proxy.shutdown()
