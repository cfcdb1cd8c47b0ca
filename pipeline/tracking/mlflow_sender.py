"""The thread that brings a record and its metrics to MLflow while the run goes on.

MLflow is loaded by the thread, and nothing that it does delays or ends a run: where the server cannot be
reached there is one warning, then the thread tries again at growing intervals.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.tracking import metrics, server
from pipeline.tracking.messages import send_messages
from pipeline.tracking.record import PARENT_RECORD, Record, RecordBusy, sole_sender
from pipeline.tracking.sender import MetricsSender
from pipeline.tracking.system import SYSTEM

SEND_EVERY, RETRY_AT_MOST = 5.0, 60.0
"""Seconds between batches, and the longest wait after failures that double it."""

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
        self._files = [MetricsSender(folder / name, record) for name in (metrics.METRICS, SYSTEM)]
        self._client: Any = None
        self._run_id = ""
        self._failure: str | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None and self.enabled:
            self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
            self._thread.start()

    def rewind(self) -> None:
        """The files of metrics were written anew: read them from their beginning."""
        for file in self._files:
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
        reason = self._failure or f"{self.uri} is too slow"
        self.notify(
            f"MLflow does not have everything of {self.folder} ({reason}); nothing is lost, "
            f"send it with `bloomery sync {self.sync_folder}`"
        )
        return False

    def send(self) -> int:
        """Send all that waits; returns how many lines of metrics.jsonl. Raises what MLflow raises."""
        if self._client is None:
            client = server.connect(self.uri)
            self._run_id = join_runs(client, self.uri, self.work, self.record)
            self._client = client
        messages = [one for one in self.record.state.messages if one.kind != "status"]
        states = [one for one in self.record.state.messages if one.kind == "status"]
        before = [one for one in states if one.content["status"] == "RUNNING"]
        send_messages(self._client, self._run_id, self.record, [*before, *messages], self.notify)
        steps, _ = [file.send(self._client, self._run_id) for file in self._files]
        after = [one for one in states if one not in before]
        send_messages(self._client, self._run_id, self.record, after, self.notify)
        return steps

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
                f"MLflow at {self.uri} cannot be used ({failure}); the run goes on, its metrics are kept in "
                f"{self.folder} and sent later"
            )
        if failure is None and self._failure is not None:
            self.notify(f"MLflow at {self.uri} is back; what was kept is sent")
        self._failure = failure


def join_runs(client: Any, uri: str, work: Path, record: Record) -> str:
    """Id of the MLflow run of a record: the work folder's own, or a stage's, nested in it."""
    experiment_id = server.find_experiment(client, record.state.experiment, work)
    path = work / PARENT_RECORD
    if record.path == path:
        return server.join(client, uri, experiment_id, record)
    with sole_sender(path, wait=True):
        state = record.state
        parent = server.join(client, uri, experiment_id, parent_record(work, state.experiment, state.started))
    return server.join(client, uri, experiment_id, record, parent)


def parent_record(work: Path, experiment: str, started: float | None = None) -> Record:
    """The record of the run that all stages of a work folder are nested in; it begins with the first."""
    record = Record(work / PARENT_RECORD, work.resolve().name, experiment)
    if started is not None and record.state.run_id is None:
        record.change(started=started)
    return record


def one_line(error: Exception) -> str:
    """An exception as one short line: of a network's, only the words that matter."""
    words = " ".join(str(error).split()) or type(error).__name__
    known = next((known for known in NETWORK_TROUBLE if known in words), None)
    if known is not None:
        return known
    return words if len(words) <= 200 else words[:197] + "..."
