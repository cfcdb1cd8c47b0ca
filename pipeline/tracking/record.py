"""What MLflow was told and what it still has to be told, in a small file beside each run.

The file outlives the process, so a restarted job or `bloomery sync` goes on where the last one stopped. It is
written before and after everything that is sent:

key        a random name, put on the MLflow run as a tag before its id is known here: a run whose creator was
           killed is found again instead of created twice
run_id     the MLflow run
streams    of each file of metrics: `sent`, the place up to which MLflow has its lines, and `sending`, the
           place up to which lines were being sent; left over by a process that was killed in between
told       what it has been told, for another server (`MLFLOW_TRACKING_URI`) or one that lost the run
messages   parameters, tags, values, artifacts, datasets, models and states that are not sent yet, in order
"""

import fcntl
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationError

from data_prep.contract.receipt import write_atomic
from data_prep.contract.settings import Settings

STAGE_RECORD = "tracking.json"
PARENT_RECORD = "mlflow.json"


class StreamPlace(NamedTuple):
    """So many lines of `step` and all lines of the steps before it."""

    step: int = -1
    lines: int = 0

    def next(self, step: int) -> "StreamPlace":
        """The place after one more line, which is of `step`."""
        return StreamPlace(step, self.lines + 1 if step == self.step else 1)


class Message(Settings):
    kind: Literal["parameters", "tags", "values", "artifact", "dataset", "model", "status"]
    """What is to be told."""
    content: dict[str, Any]
    """Parameters, tags or values by name; a path and its place; a description; a state."""
    time: float = 0.0
    """When it was true, in seconds since the epoch."""


class Stream(Settings):
    sent: StreamPlace = StreamPlace()
    """How far MLflow has the lines of a file."""
    sending: StreamPlace | None = None
    """How far it may have them."""
    metric: str | None = None
    """A metric of the last line that was being sent."""


class State(Settings):
    key: str = Field(default_factory=lambda: uuid.uuid4().hex)
    """Tag by which the MLflow run is found before its id is known."""
    name: str
    """Name of the MLflow run."""
    experiment: str = "bloomery"
    """Name of the MLflow experiment."""
    subject: str = ""
    """Fingerprint of what the run is a run of; another one starts another MLflow run."""
    number: int = 1
    """Counts the MLflow runs of the stage: one more for each that began from nothing with another subject."""
    started: float = Field(default_factory=time.time)
    """When the run began, in seconds since the epoch."""
    uri: str | None = None
    """The tracking server that `run_id` belongs to, without passwords."""
    experiment_id: str | None = None
    """The MLflow experiment."""
    run_id: str | None = None
    """The MLflow run."""
    streams: dict[str, Stream] = Field(default_factory=dict)
    """How far each file of metrics is sent, by its name."""
    messages: list[Message] = Field(default_factory=list)
    """What is still to be told."""
    told: list[Message] = Field(default_factory=list)
    """What the server has been told."""


class Record:
    """The file and the state in it. One process at a time changes it, from any of its threads."""

    def __init__(self, path: Path, name: str, experiment: str = "bloomery", subject: str = "") -> None:
        self.path = path
        self._lock = threading.Lock()
        self.state = read_state(path) or State(name=name, experiment=experiment, subject=subject)

    def change(self, **fields: Any) -> None:
        """Replace fields of the state, on disk too."""
        with self._lock:
            self._write(fields)

    def reset(self, subject: str) -> None:
        """Begin another MLflow run under the same name."""
        with self._lock:
            was = self.state
            self.state = State(
                name=was.name, experiment=was.experiment, subject=subject, number=was.number + 1
            )
            self._write({})

    def stream(self, name: str) -> Stream:
        """How far a file of metrics is sent."""
        return self.state.streams.get(name, Stream())

    def reached(
        self, name: str, sent: StreamPlace, sending: StreamPlace | None = None, metric: str | None = None
    ) -> None:
        """Note how far a file of metrics is sent, and how far it may be."""
        stream = Stream(sent=sent, sending=sending, metric=metric)
        with self._lock:
            self._write({"streams": {**self.state.streams, name: stream}})

    def post(self, kind: str, content: dict[str, Any], when: float = 0.0) -> None:
        """Add a message; the same one that still waits is not sent twice, the last state is the state."""
        message = Message.model_validate({"kind": kind, "content": content, "time": when})
        with self._lock:
            self._write({"messages": [*without(self.state.messages, message), message]})

    def told(self, message: Message) -> None:
        """Put away a message that MLflow has; a server that has not can be told again."""
        with self._lock:
            waiting = [one for one in self.state.messages if one != message]
            self._write({"messages": waiting, "told": [*without(self.state.told, message), message]})

    def begin_again(self) -> None:
        """Everything is to be told again, to a server that knows nothing of the run."""
        with self._lock:
            messages = self.state.told
            for message in self.state.messages:
                messages = [*without(messages, message), message]
            self._write({"streams": {}, "messages": messages, "told": []})

    def _write(self, fields: dict[str, Any]) -> None:
        self.state = self.state.model_copy(update=fields)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, self.state.model_dump_json(indent=1) + "\n")


def without(messages: list[Message], latest: Message) -> list[Message]:
    """The messages that a later one does not replace: it says something else, and is not another status."""
    return [
        one
        for one in messages
        if (one.kind, one.content) != (latest.kind, latest.content)
        and not (one.kind == latest.kind == "status")
    ]


def read_state(path: Path) -> State | None:
    """The state in a record file; None where there is none or it cannot be understood."""
    try:
        return State.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


class RecordBusy(Exception):  # noqa: N818 - not an error of anybody
    """Another process is sending this record."""


@contextmanager
def sole_sender(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold a record for one process; where another has it, wait or raise `RecordBusy`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise RecordBusy(path) from error
        yield
