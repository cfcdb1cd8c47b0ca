"""The MLflow server, its experiment and its runs: found again, or made where they are missing.

Functions here may raise whatever MLflow raises; the sender decides what that means for a run.
"""

import getpass
import logging
import os
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from data_prep.contract.names import printable, without_password
from pipeline.tracking.pages import run_page, without_user
from pipeline.tracking.record import PARENT_RECORD, Record, read_state

ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""How MLflow's client behaves here, unless the user's environment says otherwise.

The sender has time to wait for a slow server, and tries again by itself: after it has looked what arrived.
"""
KEY_TAG = "bloomery.key"
DATABASE = "mlflow.db"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""The page then shows an experiment as model training, not as chat traces."""


def tracking_uri(work: Path) -> str:
    """`MLFLOW_TRACKING_URI`, else an SQLite file beside the work folder; for print see `shown`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(work.resolve().parent / DATABASE)


def sqlite_uri(path: Path) -> str:
    """The address of an SQLite file, as the SQLAlchemy that is here reads what is special in addresses."""
    plain = str(path)
    if not set("?%") & set(plain) or find_spec("sqlalchemy") is None:
        return f"sqlite:///{plain}"
    from sqlalchemy import URL

    return URL.create("sqlite", database=plain).render_as_string()


def shown(uri: str) -> str:
    """An address as it may be printed, kept and sent: passwords in it become ***."""
    return printable(without_password(uri))


def is_server(uri: str) -> bool:
    """Whether an address is that of a server, and not of a database or folder."""
    return uri.startswith(("http://", "https://"))


def connect(uri: str) -> Any:
    """An `MlflowClient` that gives up soon, logs nothing and reports to nobody else.

    Raises `ImportError` where the store is a database and what MLflow reads databases with is missing.
    """
    if not uri.startswith(("http", "file", "databricks", "/")) and find_spec("sqlalchemy") is None:
        raise ImportError("mlflow-skinny cannot write databases; install mlflow, or set MLFLOW_TRACKING_URI")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(uri)


def find_experiment(client: Any, name: str, work: Path) -> str:
    """Id of the experiment, made where it is missing; beside an SQLite store its artifacts lie beside it."""
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "deleted":
        raise ValueError(f"experiment {name!r} is deleted there; restore it or set tracking.experiment")
    if found is None:
        beside = (work.resolve().parent / "mlartifacts" / name.removeprefix("/")).as_uri()
        place = None if os.environ.get("MLFLOW_TRACKING_URI") else beside
        return str(client.create_experiment(name, artifact_location=place, tags=EXPERIMENT_TAGS))
    return str(found.experiment_id)


def join(client: Any, uri: str, experiment_id: str, record: Record, parent: str | None = None) -> str:
    """Id of the record's MLflow run: the one it had, the one of its key, or a new one."""
    state, uri = record.state, shown(uri)
    if state.uri == uri and state.run_id is not None and _is_there(client, state.run_id):
        return state.run_id
    found = client.search_runs([experiment_id], f"tags.`{KEY_TAG}` = '{state.key}'", max_results=1)
    if found:
        run_id = found[0].info.run_id
        record.change(uri=uri, experiment_id=experiment_id, run_id=run_id)
        return str(run_id)
    record.begin_again()
    tags = {KEY_TAG: state.key, "mlflow.source.name": "bloomery", "mlflow.user": user()}
    if parent is not None:
        tags["mlflow.parentRunId"] = parent
    run_id = client.create_run(
        experiment_id, start_time=int(record.state.started * 1000), tags=tags, run_name=printable(state.name)
    ).info.run_id
    record.change(uri=uri, experiment_id=experiment_id, run_id=run_id)
    return str(run_id)


def user() -> str:
    """Who starts runs, by the name of the account; empty where the machine does not know it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no account
        return ""


def _is_there(client: Any, run_id: str) -> bool:
    """Whether a run exists and nobody has deleted it."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def how_to_look(work: Path) -> str:
    """What a user does to see a work folder's run: its page on a server, or the command that opens it.

    The command can be pasted into a shell from anywhere; no password is in it.
    """
    uri, state = tracking_uri(work), read_state(work / PARENT_RECORD)
    if not is_server(uri):
        return f"bloomery dashboard {shlex.quote(str(work.resolve()))}"
    if state is None or state.uri != shown(uri) or not state.experiment_id or not state.run_id:
        return without_user(uri)
    return run_page(uri, state.experiment_id, state.run_id)
