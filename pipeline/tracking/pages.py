"""Addresses of MLflow's pages, and the view of the table of runs that shows what matters here.

Without `workflowType` the page of an experiment is one of traces of chats, empty for a training. A view is a
tag of the experiment: columns and order by name, which the page offers in its menu and takes from an address.
"""

import json
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

TRAINING = "workflowType=machine_learning"
VIEW = "bloomery"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
COLUMNS = 10
"""As many as a screen has room for."""
OF_MODELS = "evaluation/"
"""Figures that stand with a training for its model's sake, and with the work folder's run too."""
TELLING = ("_held_out_loss", "_bits_per_byte", "/validation_loss", "_shot", "tokens_per_second", "mfu")
"""Endings of the names of metrics, the most telling first."""


def run_page(server: str, experiment_id: str, run_id: str) -> str:
    """The page of a run."""
    return f"{without_user(server)}/#/experiments/{quote(experiment_id)}/runs/{quote(run_id)}?{TRAINING}"


def runs_page(server: str, experiment_id: str, view: bool = True) -> str:
    """The table of an experiment's runs, in our view where it has one."""
    shown = f"&viewStateShareKey={VIEW}" if view else ""
    return f"{without_user(server)}/#/experiments/{quote(experiment_id)}/runs?{TRAINING}{shown}"


def experiments_page(server: str) -> str:
    """The list of experiments."""
    return f"{without_user(server)}/#/experiments?{TRAINING}"


def without_user(server: str) -> str:
    """An address without user and password, for which a browser asks.

    >>> without_user("http://joe:secret@host:5000/")
    'http://host:5000'
    """
    parts = urlsplit(server)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")


def columns(metrics: Iterable[str]) -> list[str]:
    """The metrics to show, of those that the runs of an experiment have.

    >>> columns(["mfu", "seconds", "tuned_held_out_loss", "evaluation/accuracy_0_shot"])
    ['tuned_held_out_loss', 'mfu']
    """
    names = sorted(name for name in set(metrics) if not name.startswith(OF_MODELS))
    told = [name for ending in TELLING for name in names if name.endswith(ending)]
    return list(dict.fromkeys(told))[:COLUMNS]


def view_of(metrics: Iterable[str]) -> dict[str, Any]:
    """What the page of an experiment is to show: the newest run first, with these metrics."""
    return {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [f"metrics.`{name}`" for name in metrics],
    }


def leave_view(client: Any, experiment_id: str) -> bool:
    """Give an experiment the view; False where one may not: that takes columns from a table, and no data."""
    from mlflow.exceptions import MlflowException

    runs = client.search_runs([experiment_id], max_results=200)
    state = json.dumps(view_of(columns(name for run in runs for name in run.data.metrics)))
    there = client.get_experiment(experiment_id).tags.get(VIEW_TAG, "")
    if json.dumps(state) in there:
        return True
    now = int(time.time() * 1000)
    about = {"name": "Bloomery", "createdAt": now, "updatedAt": now, "state": state}
    try:
        client.set_experiment_tag(experiment_id, VIEW_TAG, json.dumps(about))
    except MlflowException:
        return False
    return True
