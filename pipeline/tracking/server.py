"""The one module that talks to MLflow: what a record has to tell goes in, calls of `MlflowClient` go out.

Everything here may raise whatever MLflow raises; the tracker decides what that means for a run. Each call can
be repeated without harm: runs are found again by their key, parameters that are there are left, a batch of
metrics whose fate is unknown is looked up before it is sent again.
"""

import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.tracking.metrics import Line, read_from
from pipeline.tracking.models import register_model
from pipeline.tracking.record import Message, Place, Record

ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""How MLflow's client behaves here, unless the user's environment says otherwise."""
KEY_TAG = "bloomery.key"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""The page then shows an experiment as model training, not as chat traces."""
METRICS_PER_CALL, TAGS_PER_CALL = 1000, 100
TEXT_LIMIT = 5000


def tracking_uri(work: Path) -> str:
    """`MLFLOW_TRACKING_URI`, else an SQLite file beside the work folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{work.resolve().parent / 'mlflow.db'}"


def connect(uri: str) -> Any:
    """An `MlflowClient` that gives up soon, logs nothing and reports to nobody else."""
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
        beside = (work.resolve().parent / "mlartifacts" / name).as_uri()
        place = None if "MLFLOW_TRACKING_URI" in os.environ else beside
        return str(client.create_experiment(name, artifact_location=place, tags=EXPERIMENT_TAGS))
    return str(found.experiment_id)


def join(client: Any, uri: str, experiment_id: str, record: Record, parent: str | None = None) -> str:
    """Id of the record's MLflow run: the one it had, the one of its key, or a new one."""
    state = record.state
    if state.uri == uri and state.run_id is not None and _is_there(client, state.run_id):
        return state.run_id
    found = client.search_runs([experiment_id], f"tags.`{KEY_TAG}` = '{state.key}'", max_results=1)
    if found:
        run_id = found[0].info.run_id
        record.change(uri=uri, experiment_id=experiment_id, run_id=run_id)
        return str(run_id)
    record.change(streams={})
    tags = {KEY_TAG: state.key, "mlflow.source.name": "bloomery", "mlflow.user": os.environ.get("USER", "")}
    if parent is not None:
        tags["mlflow.parentRunId"] = parent
    run_id = client.create_run(
        experiment_id, start_time=int(record.state.started * 1000), tags=tags, run_name=state.name
    ).info.run_id
    record.change(uri=uri, experiment_id=experiment_id, run_id=run_id)
    return str(run_id)


def _is_there(client: Any, run_id: str) -> bool:
    """Whether a run exists and nobody has deleted it."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def send_messages(
    client: Any, run_id: str, record: Record, messages: list[Message], notify: Callable[[str], None]
) -> None:
    """Tell MLflow some waiting messages; one that it refuses for good is named and dropped."""
    from mlflow.exceptions import MlflowException

    for message in messages:
        try:
            SENDERS[message.kind](client, run_id, message)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            notify(f"MLflow refuses a message ({message.kind}): {str(error).splitlines()[0]}")
        except FileNotFoundError as error:
            notify(f"an artifact for MLflow is gone: {error.filename}")
        record.told(message)


def _parameters(client: Any, run_id: str, message: Message) -> None:
    """Log parameters that are new; MLflow keeps no second value, so a changed one becomes a tag."""
    from mlflow.entities import Param, RunTag

    there = client.get_run(run_id).data.params
    wanted = {name: str(value)[:TEXT_LIMIT] for name, value in message.content.items()}
    new = [Param(name, value) for name, value in wanted.items() if name not in there]
    changed = [
        RunTag(f"changed.{name}", value) for name, value in wanted.items() if there.get(name, value) != value
    ]
    for batch in _batches(new, TAGS_PER_CALL):
        client.log_batch(run_id, params=batch)
    for batch in _batches(changed, TAGS_PER_CALL):
        client.log_batch(run_id, tags=batch)


def _tags(client: Any, run_id: str, message: Message) -> None:
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(name, str(value)) for name, value in message.content.items()])


def _values(client: Any, run_id: str, message: Message) -> None:
    send_lines(client, run_id, [{"step": 0, "time": message.time, **message.content}])


def _artifact(client: Any, run_id: str, message: Message) -> None:
    path = Path(message.content["path"])
    if not path.exists():
        raise FileNotFoundError(2, "no such file", str(path))
    log = client.log_artifacts if path.is_dir() else client.log_artifact
    log(run_id, str(path), message.content["to"] or None)


def _dataset(client: Any, run_id: str, message: Message) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    about = message.content
    dataset = Dataset(
        name=about["name"],
        digest=about["digest"],
        source_type="local",
        source=json.dumps({"uri": about["path"]}),
        profile=json.dumps(about["profile"]),
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", about["context"])])])


def _status(client: Any, run_id: str, message: Message) -> None:
    if message.content["status"] == "RUNNING":
        client.update_run(run_id, status="RUNNING")
    else:
        client.set_terminated(run_id, message.content["status"], end_time=int(message.time * 1000))


SENDERS: dict[str, Callable[[Any, str, Message], None]] = {
    "parameters": _parameters,
    "tags": _tags,
    "values": _values,
    "artifact": _artifact,
    "dataset": _dataset,
    "model": register_model,
    "status": _status,
}


class MetricsSender:
    """Sends the lines of a file of metrics in order, each once, whatever happens to this process."""

    def __init__(self, path: Path, record: Record) -> None:
        self.path, self.record, self._offset = path, record, 0

    def waiting(self) -> int:
        """Number of lines that MLflow does not have."""
        return sum(1 for _ in self._lines())

    def send(self, client: Any, run_id: str) -> None:
        """Send all lines that wait, in batches."""
        if self.record.stream(self.path.name).sending is not None:
            self._settle(client, run_id)
        lines = self._lines()
        while batch := list(_limited(lines)):
            line, place, _ = batch[-1]
            name = next(iter(line.keys() - {"step", "time"}), None)
            self.record.reached(self.path.name, self.record.stream(self.path.name).sent, place, name)
            send_lines(client, run_id, [line for line, _, _ in batch])
            self.record.reached(self.path.name, place)
            self._offset = batch[-1][2]

    def _lines(self) -> Iterator[tuple[Line, Place, int]]:
        """Lines beyond the place that is sent, each with its place and the offset after it."""
        sent, place = self.record.stream(self.path.name).sent, Place()
        if self._offset:
            place = sent
        for line, offset in read_from(self.path, self._offset):
            place = place.next(line["step"])
            if place > sent:
                yield line, place, offset

    def _settle(self, client: Any, run_id: str) -> None:
        """Learn from MLflow whether the batch arrived during which a process was killed.

        MLflow stores a batch in one transaction, so one of its metrics stands for all.
        """
        stream = self.record.stream(self.path.name)
        sent = stream.sent
        if stream.sending is not None and stream.metric is not None:
            history = client.get_metric_history(run_id, stream.metric)
            if any(metric.step == stream.sending.step for metric in history):
                sent = stream.sending
        self.record.reached(self.path.name, sent)


def send_lines(client: Any, run_id: str, lines: list[Line]) -> None:
    """Log some lines of metrics in one call."""
    from mlflow.entities import Metric

    metrics = [
        Metric(name, math.nan if value is None else value, int(line["time"] * 1000), line["step"])
        for line in lines
        for name, value in line.items()
        if name not in {"step", "time"}
    ]
    client.log_batch(run_id, metrics=metrics)


def _limited(lines: Iterable[tuple[Line, Place, int]]) -> Iterator[tuple[Line, Place, int]]:
    """As many of the lines as one call takes."""
    count = 0
    for line, place, offset in lines:
        yield line, place, offset
        count += len(line)
        if count + 100 > METRICS_PER_CALL:
            return


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def how_to_look(work: Path) -> str:
    """What a user does to see the runs: the page of a server, or the command that serves the file."""
    uri = tracking_uri(work)
    if uri.startswith("http"):
        return uri
    return f"mlflow ui --backend-store-uri {uri}"
