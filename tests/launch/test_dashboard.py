"""`bloomery dashboard` as a user meets it, with a real server once; what is printed holds no password."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_prep.contract.settings import InputError
from launch import dashboard
from pipeline.config import TrackingConfig
from pipeline.tracking import mlflow_sender, server
from pipeline.tracking.tracker import Tracker
from tests.pipeline.conftest import empty_store  # noqa: F401 - a fixture

PROJECT = Path(__file__).parents[2]
AWKWARD = 'it\'s "half" of 100%41 ?#&$x'


@pytest.fixture
def work(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """A work folder with one tracked stage, in a folder whose name is special in shells and addresses."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(mlflow_sender, "SEND_EVERY", 0.05)
    runs = tmp_path / AWKWARD
    runs.mkdir()
    shutil.copy(empty_store, runs / "mlflow.db")
    run = Tracker(runs / "demo" / "base", runs / "demo", "base", {}, TrackingConfig())
    run.start_from(0)
    run.log(1, {"loss": 5.0, "mfu": 0.3})
    assert run.close()
    return runs / "demo"


def test_the_place_is_a_work_folder_a_stage_or_a_folder_of_runs(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [dashboard.find_place(folder) for folder in (work, work / "base", work.parent)]
    assert [one.state.name if one.state else None for one in found] == ["demo", "demo", None]
    assert {(one.folder, one.experiment) for one in found} == {(work.parent, "bloomery")}
    assert {one.store for one in found} == {server.sqlite_uri(work.parent / "mlflow.db")}
    monkeypatch.chdir(work.parent)
    with pytest.raises(InputError, match="runs: no such folder"):
        dashboard.find_place(None)
    (work.parent / "runs").mkdir()
    with pytest.raises(InputError, match=r"mlflow\.db: no such file, so no run was tracked here"):
        dashboard.find_place(None)


def test_the_page_is_the_parent_run_s_also_in_a_copied_store(work: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(work.parent, tmp_path / "copied")
    place = dashboard.find_place(copied / "demo")
    page = dashboard.page_of(place, place.store, print)
    assert place.state is not None
    assert page.endswith(f"/#/experiments/1/runs/{place.state.run_id}?workflowType=machine_learning")
    table = dashboard.page_of(dashboard.find_place(copied), place.store, print)
    assert table.endswith("/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=bloomery")
    tags = server.connect(place.store).get_experiment("1").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    view = json.loads(tags["mlflow.sharedViewState.bloomery"])
    assert json.loads(view["state"])["selectedColumns"] == ["metrics.`mfu`"]


def test_a_run_that_mlflow_does_not_have_is_said_and_the_table_opened(work: Path) -> None:
    place, said = dashboard.find_place(work), list[str]()
    server.connect(place.store).delete_run(str(place.state and place.state.run_id))
    assert "/runs?" in dashboard.page_of(place, place.store, said.append)
    assert said == ["MLflow does not have the run of demo yet; `bloomery sync` sends what it missed"]


def listening(process: psutil.Process) -> list[Any]:
    """The sockets of a process that wait for others."""
    return [one for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from launch.cli import main; main()", "dashboard", *arguments]


def test_the_command_serves_until_ctrl_c_and_leaves_no_process(work: Path) -> None:
    shown = shlex.split(server.how_to_look(work))
    assert shown == ["bloomery", "dashboard", str(work)]
    started = subprocess.Popen(
        command(*shown[2:], "--no-open", "--json"),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        cwd=work.parent.parent,
    )
    try:
        assert started.stdout is not None
        page = json.loads(started.stdout.readline())["page"]
        assert page.startswith("http://127.0.0.1:")
        below = psutil.Process(started.pid).children(recursive=True)
        base, run_id = page.split("/#/")[0], page.rpartition("/")[2].partition("?")[0]
        with urllib.request.urlopen(f"{base}/api/2.0/mlflow/runs/get?run_id={run_id}", timeout=300) as answer:
            assert json.load(answer)["run"]["info"]["run_name"] == "demo"
        hosts = {one.laddr.ip for process in below for one in listening(process)}
        assert hosts == {"127.0.0.1"}
        assert dashboard.choose_port() != int(base.rpartition(":")[2])
        assert not any("mlflow.db" in word for one in below for word in one.cmdline())
        started.send_signal(signal.SIGINT)
        assert started.wait(300) == 0
    finally:  # the server ends with the command
        started.kill()
        started.wait()
    deadline = time.monotonic() + 300
    while any(one.is_running() and one.status() != "zombie" for one in below):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(below) >= 3


def test_the_usual_port_is_taken_where_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(dashboard, "PORT", taken.getsockname()[1])
        assert dashboard.choose_port() != dashboard.PORT
    assert dashboard.choose_port() == dashboard.PORT


GUARDED = (
    "import subprocess, time; subprocess.Popen(['sleep', '777.25']); print(0, flush=True); time.sleep(777)"
)


def processes_with(parent: psutil.Process, word: str) -> list[psutil.Process]:
    """All that run below a process, as soon as one of them has a word in its command."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        below = parent.children(recursive=True)
        with suppress(psutil.NoSuchProcess):
            if any(word in one.cmdline() for one in below):
                return below
        time.sleep(0.05)
    raise AssertionError(f"nothing runs with {word}")


def test_what_is_guarded_dies_with_whoever_started_it() -> None:
    """The guard's parent is killed outright, and the process that the guarded command started ends too."""
    outer = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-m', 'launch.guard', "
        f"sys.executable, '-c', {GUARDED!r}], stdin=subprocess.PIPE); time.sleep(777)"
    )
    started = subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, cwd=PROJECT)
    assert started.stdout is not None
    assert started.stdout.readline() == b"0\n"
    below = processes_with(psutil.Process(started.pid), "777.25")
    started.kill()
    started.wait()
    _, alive = psutil.wait_procs(below, timeout=300)
    assert [one for one in alive if one.status() != "zombie"] == []


def test_a_server_of_the_environment_is_used_and_its_password_is_not_shown(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://joe:S3CRET@127.0.0.1:{port}/")
    assert server.how_to_look(work) == f"http://127.0.0.1:{port}"
    with pytest.raises(InputError) as told:
        dashboard.run(work, browser=False, ready=print, notify=print)
    assert (
        str(told.value) == f"MLflow at http://joe:***@127.0.0.1:{port}/ cannot be used (Connection refused)"
    )
