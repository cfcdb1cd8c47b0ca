"""The thread that brings a record and its metrics to MLflow while the run goes on.

MLflow is loaded by the thread, and nothing that it does delays or ends a run: where the server cannot be
reached there is one warning, then the thread tries again at growing intervals.
"""

import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.contract.names import printable, without_password
from pipeline.tracking import metrics, pages, server
from pipeline.tracking.messages import send_messages
from pipeline.tracking.record import PARENT_RECORD, Record, RecordBusy, sole_sender
from pipeline.tracking.sender import MetricsSender
from pipeline.tracking.system import SYSTEM

SEND_EVERY, RETRY_AT_MOST = 5.0, 60.0
"""Seconds between batches, and the longest wait after failures that double it."""
CURVES = ("loss", "validation_loss")
"""Metrics of a training that the run of the work folder shows too, as STAGE/loss."""

NETWORK_TROUBLE = (
    "Connection refused",
    "Connection reset",
    "Name or service not known",
    "Temporary failure in name resolution",
    "No route to host",
    "Network is unreachable",
    "timed out",
)
"""What is said of errors whose whole text is a page of addresses and classes."""

DATABASE_TROUBLE = {
    "database is locked": "its database is locked by another process",
    "out-of-date database schema": "its database was made by another MLflow than the one here; "
    "`mlflow db upgrade` brings an older one up to date, after a backup",
    "file is not a database": "its file is no database",
}
"""What is made of errors whose text has statements and addresses of manuals."""

Notify = Callable[[str], None]


class MLflowSender:
    """The thread that brings a record and its metrics to MLflow."""

    def __init__(
        self,
        folder: Path,
        work: Path,
        record: Record,
        enabled: bool,
        notify: Notify,
        sync_folder: Path | None = None,
    ) -> None:
        self.sync_folder = sync_folder or folder
        self.folder, self.work, self.record = folder, work, record
        self.enabled, self.notify = enabled, notify
        self.uri = server.tracking_uri(work)
        self._metrics, self._system = [
            MetricsSender(folder / name, record) for name in (metrics.METRICS, SYSTEM)
        ]
        self._curves: MetricsSender | None = None
        self._client: Any = None
        self._run_id, self._parent_id = "", ""
        self._failure: str | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def shown(self) -> str:
        """The server's address as it may be printed."""
        return server.shown(self.uri)

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None and self.enabled:
            self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
            self._thread.start()

    def rewind(self) -> None:
        """The files of metrics were written anew: read them from their beginning."""
        for file in (self._metrics, self._system, self._curves):
            if file is not None:
                file.rewind()

    def close(self, wait: float) -> bool:
        """Let the thread send what is left; where it cannot, say what to do and return False."""
        if not self.enabled:
            return True
        self.start()
        self._closing.set()
        assert self._thread is not None
        self._thread.join(wait)
        if not self._thread.is_alive() and self._failure is None:
            return True
        reason = self._failure or f"{self.shown} is too slow"
        self.notify(
            f"MLflow does not have everything of {self.folder} ({reason}); nothing is lost, "
            f"send it with `bloomery sync {shlex.quote(str(self.sync_folder))}`"
        )
        return False

    def send(self) -> int:
        """Send all that waits; returns how many lines of metrics.jsonl. Raises what MLflow raises."""
        if self._client is None:
            client = server.connect(self.uri)
            self._run_id, self._parent_id = join_runs(client, self.uri, self.work, self.record)
            self._curves = self._curves_of(self._parent_id)
            self._client = client
        messages = [one for one in self.record.state.messages if one.kind != "status"]
        states = [one for one in self.record.state.messages if one.kind == "status"]
        before = [one for one in states if one.content["status"] == "RUNNING"]
        send_messages(self._client, self._run_id, self.record, [*before, *messages], self.notify)
        steps, _ = [file.send(self._client, self._run_id) for file in (self._metrics, self._system)]
        if self._curves is not None:
            self._curves.send(self._client, self._parent_id)
        after = [one for one in states if one not in before]
        send_messages(self._client, self._run_id, self.record, after, self.notify)
        if not self._parent_id:
            pages.leave_view(self._client, str(self.record.state.experiment_id))
        return steps

    def _curves_of(self, parent_id: str) -> MetricsSender | None:
        """The sender of a stage's losses to the run that it is nested in; another such run gets all."""
        if not parent_id:
            return None
        state = self.record.state
        group = state.name if state.number == 1 else f"{state.name} {state.number}"
        names = {name: f"{group}/{name}" for name in CURVES}
        stream = f"{parent_id}/{metrics.METRICS}"
        return MetricsSender(self.folder / metrics.METRICS, self.record, stream, names)

    def _work(self) -> None:
        try:
            with sole_sender(self.record.path):
                self._send_until_closed()
        except RecordBusy:
            self._failure = "another process is sending it"
        except OSError as error:
            self._failure = str(error)

    def _send_until_closed(self) -> None:
        pause = SEND_EVERY
        while True:
            last = self._closing.is_set()
            try:
                self.send()
                pause = SEND_EVERY
                self._report(None)
            except Exception as error:  # MLflow raises what its backends raise; none of it may end a run
                pause = min(2 * pause, RETRY_AT_MOST)
                self._report(one_line(error))
            if last:
                return
            self._closing.wait(pause)

    def _report(self, failure: str | None) -> None:
        """Say once that MLflow is away, and once that it is back."""
        if failure is not None and self._failure is None and not self._closing.is_set():
            self.notify(
                f"MLflow at {self.shown} cannot be used ({failure}); the run goes on, its metrics are kept "
                f"in {self.folder} and sent later"
            )
        if failure is None and self._failure is not None:
            self.notify(f"MLflow at {self.shown} is back; what was kept is sent")
        self._failure = failure


def join_runs(client: Any, uri: str, work: Path, record: Record) -> tuple[str, str]:
    """Ids of the MLflow run of a record and of the one it is nested in, empty for the work folder's own."""
    experiment_id = server.find_experiment(client, record.state.experiment, work)
    path = work / PARENT_RECORD
    if record.path == path:
        return server.join(client, uri, experiment_id, record), ""
    with sole_sender(path, wait=True):
        state = record.state
        parent = server.join(client, uri, experiment_id, parent_record(work, state.experiment, state.started))
    return server.join(client, uri, experiment_id, record, parent), parent


def parent_record(work: Path, experiment: str, started: float | None = None) -> Record:
    """The record of the run that all stages of a work folder are nested in; it begins with the first."""
    record = Record(work / PARENT_RECORD, work.resolve().name, experiment)
    if started is not None and record.state.run_id is None:
        record.change(started=started)
    return record


def one_line(error: Exception) -> str:
    """An exception as one short line without passwords: of a network's, only the words that matter."""
    words = " ".join(printable(without_password(str(error))).split()) or type(error).__name__
    for known in NETWORK_TROUBLE:
        if known in words:
            return known
    for known, meaning in DATABASE_TROUBLE.items():
        if known in words:
            return meaning
    return words if len(words) <= 200 else words[:197] + "..."
