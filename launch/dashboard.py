"""`bloomery dashboard`: MLflow's server for the right store, opened on the page that matters.

In goes a work folder, a stage's folder or a folder of runs; out comes the address of a page. Where
`MLFLOW_TRACKING_URI` names a server, that one is used and none is started.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from data_prep.contract.names import printable, without_password
from data_prep.contract.settings import InputError
from pipeline.config import TrackingConfig
from pipeline.tracking import pages, server
from pipeline.tracking.mlflow_sender import one_line
from pipeline.tracking.record import PARENT_RECORD, STAGE_RECORD, State, read_state

PORT = 5000
"""MLflow's own; another one where it is taken."""
START_SECONDS = 300.0
ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@dataclass(frozen=True)
class Place:
    """What is to be looked at."""

    store: str
    """The tracking server or database, with its password if it has one."""
    folder: Path
    """The folder of runs."""
    experiment: str
    state: State | None
    """The record of the work folder's run; None for the table of all runs."""


def find_place(given: Path | None) -> Place:
    """Where the runs of a folder are tracked. `InputError` where none were."""
    folder = Path("runs") if given is None else given
    if not folder.is_dir():
        where = "; give a work folder" if given is None else ""
        raise InputError(f"{folder}: no such folder{where}, such as bloomery dashboard runs/quickstart")
    folder = folder.resolve()
    work = folder.parent if (folder / STAGE_RECORD).is_file() else folder
    state = read_state(work / PARENT_RECORD)
    if state is not None:
        return Place(_store(work.parent), work.parent, state.experiment, state)
    return Place(_store(folder), folder, newest_experiment(folder), None)


def _store(runs: Path) -> str:
    """The store of a folder of runs. `InputError` where it is a file that no run has made."""
    if not os.environ.get("MLFLOW_TRACKING_URI") and not (runs / server.DATABASE).is_file():
        raise InputError(
            f"{runs / server.DATABASE}: no such file, so no run was tracked here; give a work folder that "
            "bloomery run has made, or set MLFLOW_TRACKING_URI to the server that has its runs"
        )
    return server.tracking_uri(runs / "any")


def newest_experiment(folder: Path) -> str:
    """The experiment of the work folder that began last, else the usual one."""
    states = [state for path in folder.glob(f"*/{PARENT_RECORD}") if (state := read_state(path))]
    newest = max(states, key=lambda state: state.started, default=None)
    return newest.experiment if newest else str(TrackingConfig().experiment)


def page_of(place: Place, address: str, notify: Callable[[str], None]) -> str:
    """The page to open on the server at `address`, whose table of runs is given its view.

    `address` may hold a password, the page's does not. `InputError` where the server does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        client = server.connect(address)
        experiment = client.get_experiment_by_name(place.experiment)
        if experiment is None:
            notify(f"MLflow has no experiment {place.experiment} yet; `bloomery sync` sends what it missed")
            return pages.experiments_page(address)
        run_id = find_run(client, experiment.experiment_id, place.state) if place.state else None
        view = pages.leave_view(client, experiment.experiment_id)
    except (MlflowException, OSError) as error:
        raise InputError(f"MLflow at {server.shown(address)} cannot be used ({one_line(error)})") from None
    if run_id is not None:
        return pages.run_page(address, experiment.experiment_id, run_id)
    if place.state is not None:
        notify(
            f"MLflow does not have the run of {place.state.name} yet; `bloomery sync` sends what it missed"
        )
    return pages.runs_page(address, experiment.experiment_id, view)


def find_run(client: Any, experiment_id: str, state: State) -> str | None:
    """Id of a record's run in this store, by its key: a copied store keeps that."""
    found = client.search_runs([experiment_id], f"tags.`{server.KEY_TAG}` = '{state.key}'", max_results=1)
    return str(found[0].info.run_id) if found else None


@contextmanager
def mlflow_server(store: str, folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """MLflow's server on loopback: its address and process. It dies with this process, its workers too.

    Raises `InputError` where it cannot be started; what it said last is in the sentence.
    """
    if find_spec("flask") is None or find_spec("sqlalchemy") is None:
        raise InputError("the dashboard needs all of mlflow; pip install 'bloomery[tracking]'")
    port = choose_port()
    command = [sys.executable, "-m", "launch.guard", sys.executable, "-m", "mlflow", "server"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= ENVIRONMENT | {"MLFLOW_BACKEND_STORE_URI": store}  # no password among the arguments
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [*_root(), environment.get("PYTHONPATH")]))
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_until_healthy(address, child, log)
            yield address, child
        finally:
            assert child.stdin is not None
            child.stdin.close()
            child.wait()


def _root() -> list[str]:
    """Where the guard's package is: the server stands in another folder."""
    return [str(Path(__file__).resolve().parents[1])]


def choose_port() -> int:
    """MLflow's usual port, or one that is free."""
    for port in (PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise InputError("no port is free on 127.0.0.1")


def _wait_until_healthy(address: str, child: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    log.seek(0)
    said = [line for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    last = printable(without_password(said[-1].strip()))[:300] if said else "it said nothing"
    raise InputError(f"MLflow's server did not start: {last}")


def has_display() -> bool:
    """Whether a browser could be seen here."""
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def show(page: str, browser: bool) -> None:
    """Open a page in the user's browser, if there is one to be seen."""
    if browser and has_display():
        webbrowser.open(page)


def run(
    given: Path | None, browser: bool, ready: Callable[[str], None], notify: Callable[[str], None]
) -> None:
    """Open the page of a folder; a server that was started here serves until Ctrl-C or SIGTERM."""
    place = find_place(given)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if server.is_server(place.store):
        page = page_of(place, place.store, notify)
        ready(page)
        show(page, browser)
        return
    notify("starting MLflow's server")
    try:
        with mlflow_server(place.store, place.folder) as (address, child):
            page = page_of(place, address, notify)
            ready(page)
            notify("serving until Ctrl-C")
            show(page, browser)
            status = child.wait()
            raise InputError(f"MLflow's server ended by itself with status {status}")
    except KeyboardInterrupt:
        return
