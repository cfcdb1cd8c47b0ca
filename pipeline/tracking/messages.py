"""Messages of a record, told to MLflow: parameters, tags, values, artifacts, datasets, models and states.

Telling one twice does no harm: what is there already is left as it is.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.tracking.models import register_model
from pipeline.tracking.record import Message, Record
from pipeline.tracking.sender import send_lines

TAGS_PER_CALL = 100
TEXT_LIMIT = 5000
"""MLflow takes parameters of 6000 characters."""
THIS_RUN = "{this run}"
"""In a tag it stands for the id of the run that is tagged, which is not known before."""


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

    tags = {name: str(value).replace(THIS_RUN, run_id) for name, value in message.content.items()}
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])


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


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
