"""The tracker against a real MLflow store: each step once, whatever stops it."""

import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from pipeline.config import TrackingConfig
from pipeline.reports.publish import sync
from pipeline.tracking import metrics, mlflow_sender, server
from pipeline.tracking.record import Record, StreamPlace, sole_sender
from pipeline.tracking.tracker import Tracker, flatten
from tests.pipeline.tracking.servers import held_up, wait_for
from tests.pipeline.tracking.store import Store, once, pretraining

PROJECT = Path(__file__).parents[3]


def logged(work: Path, start: int, stop: int) -> Tracker:
    """A run that went from one step to another and was closed."""
    run = pretraining(work)
    run.start_from(start)
    for step in range(start + 1, stop + 1):
        run.log(step, {"loss": float(step)})
    run.close()
    return run


def test_mlflow_has_every_step_the_config_the_dataset_and_the_artifacts(
    work: Path, store: Store, tiny_dataset: Path
) -> None:
    said: list[str] = []
    run = pretraining(work, said)
    run.start_from(0)
    run.dataset(Dataset(tiny_dataset).manifest, tiny_dataset)
    for step in range(1, 31):
        run.log(step, {"loss": 5 - step / 10, "learning_rate": 0.1})
    run.log(30, {"validation_loss": float("nan"), "rows, of 18,438 (5 %)": 1.0})
    (work / "plot.png").write_bytes(b"png")
    run.artifact(work / "plot.png", "plots")
    run.close("FINISHED")
    assert said == []
    found, parent = store.run("pretrain"), store.run("demo")
    assert found.info.status == "FINISHED"
    assert found.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert found.data.params == {"train.steps": "100"}
    assert store.values("pretrain", "loss") == {step: 5 - step / 10 for step in range(1, 31)}
    assert set(store.values("pretrain", "validation_loss")) == {30}
    assert store.values("pretrain", "rows of 18438 5 ") == {30: 1.0}, "MLflow takes no comma in a name"
    assert store.artifacts("pretrain", "plots") == {"plots/plot.png"}
    (entry,) = found.inputs.dataset_inputs
    assert entry.dataset.digest == Dataset(tiny_dataset).manifest.fingerprint


def test_a_resume_joins_its_run_and_sends_no_step_twice(work: Path, store: Store) -> None:
    first = pretraining(work)
    first.start_from(0)
    for step in range(1, 21):
        first.log(step, {"loss": float(step)})
    first.log(20, {"validation_loss": 0.2})
    first.close("FAILED")
    second = pretraining(work)
    second.start_from(15)
    for step in range(16, 31):
        second.log(step, {"loss": float(step)})
        if step % 10 == 0:
            second.log(step, {"validation_loss": step / 100})
    second.close("FINISHED")
    assert store.steps("pretrain", "loss") == once(range(1, 31))
    assert store.steps("pretrain", "validation_loss") == once(range(20, 31, 10))
    assert store.run("pretrain").info.status == "FINISHED"
    assert [line["step"] for line in metrics.read(work / "pretrain" / "metrics.jsonl")][-2:] == [30, 30]


def test_another_configuration_from_the_start_is_another_run(work: Path, store: Store) -> None:
    for steps in (10, 10, 20):
        run = pretraining(work, steps=steps)
        run.start_from(0)
        run.log(1, {"loss": 1.0})
        run.close()
    assert sorted(run.data.params["train.steps"] for run in store.runs("pretrain")) == ["10", "20"]
    extended = pretraining(work, steps=30)
    extended.start_from(1)
    extended.close()
    newest = store.runs("pretrain")[0]
    assert newest.data.params["train.steps"] == "20"
    assert newest.data.tags["changed.train.steps"] == "30"


@pytest.mark.parametrize("arrived", [True, False])
def test_a_batch_whose_fate_is_unknown_is_looked_up(work: Path, store: Store, arrived: bool) -> None:
    run = logged(work, 0, 10 if arrived else 4)
    run.record.reached("metrics.jsonl", StreamPlace(4, 1), StreamPlace(10, 1), "loss")
    logged(work, 4, 12)
    assert store.steps("pretrain", "loss") == once(range(1, 13))


KILLED = """
import os, signal, sys, time
from contextlib import closing
from pathlib import Path
from pipeline.tracking import mlflow_sender
from tests.pipeline.tracking.servers import held_up, wait_for
from tests.pipeline.tracking.store import pretraining
mlflow_sender.SEND_EVERY = 0.01
start, stop = int(sys.argv[2]), int(sys.argv[3])
run = pretraining(Path(sys.argv[1]))
run.start_from(start)
for step in range(start + 1, stop + 1):
    run.log(step, {"loss": 1 / step})
    time.sleep(0.01 if step % 7 else 0.4)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_processes_leave_each_step_once(work: Path, store: Store) -> None:
    for start, stop in ((0, 60), (50, 97), (80, 121)):
        command = [sys.executable, "-c", KILLED, str(work), str(start), str(stop)]
        assert subprocess.run(command, cwd=PROJECT, check=False).returncode == -9
    last = pretraining(work)
    last.start_from(120)
    last.log(121, {"loss": 1 / 121})
    last.close()
    assert store.steps("pretrain", "loss") == once(range(1, 122))
    assert store.values("pretrain", "loss") == {step: 1 / step for step in range(1, 122)}
    assert len(store.runs("demo")) == 1


def test_a_run_whose_creator_was_killed_is_found_by_its_key(work: Path, store: Store) -> None:
    run = logged(work, 0, 1)
    run.record.change(run_id=None, uri=None)
    logged(work, 1, 2)
    assert store.steps("pretrain", "loss") == once(range(1, 3))


def test_a_deleted_run_is_begun_anew_with_every_step(work: Path, store: Store) -> None:
    logged(work, 0, 1)
    store.client.delete_run(store.run("pretrain").info.run_id)
    logged(work, 1, 2)
    assert store.steps("pretrain", "loss") == once(range(1, 3))


def test_no_server_means_one_warning_no_delay_and_a_later_sync(
    work: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setattr(mlflow_sender, "RETRY_AT_MOST", 0.1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said: list[str] = []
    run = pretraining(work, said)
    run.start_from(0)
    for step in range(1, 301):
        assert held_up(partial(run.log, step, {"loss": float(step)})) < 0.5
        time.sleep(0.005)
    wait_for(lambda: bool(said))
    run.close()
    assert len(said) == 2
    assert "cannot be used (Connection refused)" in said[0]
    assert "bloomery sync" in said[1]
    with pytest.raises(InputError, match="cannot be used"):
        sync(work / "pretrain", said.append)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert sync(work / "pretrain", said.append) == 300
    assert store.steps("pretrain", "loss") == once(range(1, 301))
    assert store.run("pretrain").info.status == "FINISHED"
    assert sync(work, said.append) == 0
    assert len(said) == 2


def test_a_server_that_never_answers_holds_nobody_up(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        said: list[str] = []
        run = pretraining(work, said)
        run.start_from(0)
        run.log(1, {"loss": 1.0})
        started = time.perf_counter()
        run.close(wait=1.0)
        assert time.perf_counter() - started < 300
    assert len(said) == 1
    assert "too slow" in said[0]
    assert "bloomery sync" in said[0]


def test_an_mlflow_without_its_database_driver_is_said_once(
    work: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    said: list[str] = []
    run = pretraining(work, said)
    run.start_from(0)
    run.log(1, {"loss": 1.0})
    wait_for(lambda: bool(said))
    run.close()
    assert "(mlflow-skinny cannot write databases; install mlflow, or set" in said[0]
    assert len(said) == 2
    monkeypatch.undo()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert sync(work) == 1
    assert store.steps("pretrain", "loss") == once(range(1, 2))


def test_nothing_is_sent_where_tracking_is_off(work: Path, store: Store) -> None:
    run = Tracker(work / "pretrain", work, "pretrain", {}, TrackingConfig(enabled=False))
    run.start_from(0)
    run.log(1, {"loss": 1.0})
    run.close()
    assert store.client.get_experiment_by_name("bloomery") is None
    assert len(metrics.read(run.path)) == 1


def test_another_server_is_told_everything(
    work: Path, store: Store, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pretraining(work)
    run.start_from(0)
    for step in range(1, 11):
        run.log(step, {"loss": 1 / step})
    (work / "plot.png").write_bytes(b"png")
    run.artifact(work / "plot.png")
    run.close()
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "team.db").write_bytes(empty_store.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'team' / 'team.db'}")
    monkeypatch.chdir(tmp_path / "team")
    assert sync(work) == 10
    team = Store(f"sqlite:///{tmp_path / 'team' / 'team.db'}")
    assert team.steps("pretrain", "loss") == once(range(1, 11))
    found = team.run("pretrain")
    assert found.data.params == {"train.steps": "100"}
    assert found.info.status == "FINISHED"
    assert team.artifacts("pretrain") == {"plot.png"}
    assert store.steps("pretrain", "loss") == once(range(1, 11))


def test_syncing_what_was_never_tracked_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run was tracked here"):
        sync(tmp_path)


def test_messages_survive_and_are_not_doubled(tmp_path: Path) -> None:
    record = Record(tmp_path / "tracking.json", "pretrain")
    for path in ("a.png", "b.png", "a.png"):
        record.post("artifact", {"path": path, "to": ""})
    record.post("status", {"status": "RUNNING"})
    record.post("status", {"status": "FINISHED"}, 2.0)
    again = Record(tmp_path / "tracking.json", "pretrain")
    assert [one.content for one in again.state.messages] == [
        {"path": "b.png", "to": ""},
        {"path": "a.png", "to": ""},
        {"status": "FINISHED"},
    ]
    again.told(again.state.messages[0])
    assert len(Record(tmp_path / "tracking.json", "pretrain").state.messages) == 2


def test_configurations_flatten_to_dotted_names() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [1]}}, "e": {}}) == {"a.b": 1, "a.c.d": [1], "e": {}}


def test_a_sync_beside_the_process_that_sends_says_so(work: Path, store: Store) -> None:
    run = pretraining(work)
    run.start_from(0)
    run.close()
    with sole_sender(run.record.path), pytest.raises(InputError, match="another process is sending this run"):
        sync(work / "pretrain")


def test_a_run_that_goes_back_has_every_step_once(work: Path, store: Store) -> None:
    """Lines that were sent before the run went back, one that was not, and those of the steps done again."""
    run = pretraining(work)
    run.start_from(0)
    for step in range(1, 21):
        run.log(step, {"loss": float(step)})
    wait_for(lambda: run.record.stream("metrics.jsonl").sent.step >= 20)
    run.log(21, {"loss": 21.0})
    run.go_back(12)
    for step in range(13, 31):
        run.log(step, {"loss": float(step)})
    run.close()
    assert store.steps("pretrain", "loss") == once(range(1, 31))
    assert [line["step"] for line in metrics.read(run.path)] == list(range(1, 31))


def test_the_parent_run_shows_each_training_s_losses_once(work: Path, store: Store) -> None:
    first = pretraining(work)
    first.start_from(0)
    for step in range(1, 11):
        first.log(step, {"loss": float(step), "mfu": 0.5})
    first.log(10, {"validation_loss": 0.2})
    first.close("FAILED")
    again = pretraining(work)
    again.start_from(5)
    for step in range(6, 16):
        again.log(step, {"loss": float(step)})
    again.log(15, {"learning_rate": 0.1})
    again.close()
    assert store.values("demo", "pretrain/loss") == {step: float(step) for step in range(1, 16)}
    assert store.steps("demo", "pretrain/loss") == once(range(1, 16))
    assert store.values("demo", "pretrain/validation_loss") == {10: 0.2}
    assert set(store.run("demo").data.metrics) == {"pretrain/loss", "pretrain/validation_loss"}
    other = pretraining(work, steps=7)
    other.start_from(0)
    other.log(1, {"loss": 9.0})
    other.close()
    assert store.values("demo", "pretrain 2/loss") == {1: 9.0}
    assert store.steps("demo", "pretrain/loss") == once(range(1, 16))


def test_a_parent_run_that_was_deleted_has_the_losses_again(work: Path, store: Store) -> None:
    logged(work, 0, 5)
    store.client.delete_run(store.run("demo").info.run_id)
    logged(work, 5, 6)
    assert store.steps("demo", "pretrain/loss") == once(range(1, 7))
    assert store.steps("pretrain", "loss") == once(range(1, 7))


def test_a_locked_database_is_said_in_one_sentence_and_caught_up_with(
    work: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{work.parent / 'mlflow.db'}?timeout=0.2")
    with closing(sqlite3.connect(work.parent / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        run = pretraining(work, said)
        run.start_from(0)
        for step in range(1, 4):
            assert held_up(partial(run.log, step, {"loss": float(step)})) < 0.5
        wait_for(lambda: bool(said))
        other.execute("ROLLBACK")
    assert run.close()
    assert "its database is locked by another process" in said[0]
    assert "\n" not in said[0]
    assert len(said) <= 2
    assert store.steps("pretrain", "loss") == once(range(1, 4))


@pytest.mark.parametrize("revision", ["451aebb31d03", "ffffffffffff"])
def test_a_database_of_an_older_or_newer_mlflow_is_said_and_the_run_goes_on(
    work: Path, revision: str
) -> None:
    with closing(sqlite3.connect(work.parent / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", [revision])
    said: list[str] = []
    run = pretraining(work, said)
    run.start_from(0)
    run.log(1, {"loss": 1.0})
    assert not run.close()
    assert "its database was made by another MLflow than the one here; `mlflow db upgrade`" in said[-1]
    assert "\n" not in said[-1]
    assert len(metrics.read(run.path)) == 1


@pytest.mark.filterwarnings("ignore:Query string")
def test_no_password_of_an_address_is_printed_or_kept(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses, a database whose driver is missing, and a store that works."""
    said: list[str] = []
    works = f"sqlite:///{work.parent / 'mlflow.db'}?password=S3CRET"
    for uri in ("http://joe:S3CRET@127.0.0.1:9/", "postgresql://joe:S3CRET@127.0.0.1:9/mlflow", works):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        run = pretraining(work, said)
        run.start_from(0)
        run.log(1, {"loss": 1.0})
        run.close(wait=20)
        assert "S3CRET" not in server.how_to_look(work)
    assert len(said) >= 2
    assert "S3CRET" not in "".join([*said, *(path.read_text() for path in work.rglob("*.json"))])


def test_databases_with_odd_names_are_the_files_of_these_names(tmp_path: Path, empty_store: Path) -> None:
    folder = tmp_path / "100%41 of a?b=c#d 'e'"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    server.connect(server.sqlite_uri(folder / "mlflow.db")).create_experiment("here")
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        assert ("here",) in database.execute("SELECT name FROM experiments").fetchall()
