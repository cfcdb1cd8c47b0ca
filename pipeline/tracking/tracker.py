"""What a training loop tells about itself: into `metrics.jsonl` at once, to MLflow in the background.

    tracker = Tracker(work / "pretrain", work, "pretrain", config.model_dump(mode="json"), config.tracking)
    tracker.start_from(step)          # the step that a resume starts at, 0 for a new run
    tracker.log(step, {"loss": 5.3})
    tracker.close("FINISHED")

MLflow is loaded by a thread once the first step is logged, and nothing that it does delays or ends a run:
when the server cannot be reached there is one warning, and what is left is sent later, by this run or by
`bloomery sync`.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from data_prep.contract.dataset import Manifest
from data_prep.contract.receipt import fingerprint
from pipeline.config import TrackingConfig
from pipeline.tracking import metrics, server
from pipeline.tracking.record import (
    PARENT_RECORD,
    STAGE_RECORD,
    Record,
    RecordBusy,
    sole_sender,
)
from pipeline.tracking.system import SYSTEM, SystemSampler

SEND_EVERY, RETRY_AT_MOST = 5.0, 60.0
"""Seconds between batches, and the longest wait after failures that double it."""

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
Notify = Callable[[str], None]


class Tracker:
    """The metrics of one stage, written by one process: rank 0 of a training, or the command of a stage.

    `config` is the stage's resolved configuration; `identity` (its fingerprint unless given) tells a restart
    of the same stage, which joins its MLflow run, from another one, which begins its own.
    """

    def __init__(
        self,
        stage_folder: Path,
        work: Path,
        stage: str,
        config: dict[str, Any],
        settings: TrackingConfig,
        notify: Notify = print,
        identity: str = "",
        started: float | None = None,
    ) -> None:
        self.path, self.notify = stage_folder / metrics.METRICS, notify
        self.subject = identity or fingerprint(config)
        stage_folder.mkdir(parents=True, exist_ok=True)
        self.record = Record(stage_folder / STAGE_RECORD, stage, settings.experiment, self.subject)
        self._started = started
        self._courier = Courier(stage_folder, work, self.record, settings.enabled, notify)
        self._sampler = SystemSampler(stage_folder / SYSTEM, settings.system_every)
        self._config = config
        self._unwritten: deque[metrics.Line] = deque()

    def start_from(self, step: int) -> None:
        """Go on after `step` steps: lines of later ones, which will be done again, are dropped.

        From step 0 with another identity than before, the MLflow run is a new one.
        """
        metrics.drop_after(self.path, step)
        if step == 0 and self.record.state.subject != self.subject:
            self.record.reset(self.subject)
        if self._started is not None:
            self.record.change(started=self._started)
        self._post("status", {"status": "RUNNING"})
        self._post("parameters", flatten(self._config))

    def log(self, step: int, values: dict[str, float]) -> None:
        """Write the metrics of a step that is done; where the disk is full, they wait for room."""
        self._unwritten.append(metrics.make_line(step, values))
        self._write()
        self._courier.start()
        self._sampler.start()

    def dataset(self, manifest: Manifest, path: Path, context: str = "training") -> None:
        """Name the dataset that the stage reads; its fingerprint is the digest."""
        self._post("dataset", describe_dataset(manifest, path, context))

    def tags(self, values: dict[str, str]) -> None:
        """Tag the stage's run."""
        self._post("tags", dict(values))

    def values(self, values: dict[str, float], when: float | None = None) -> None:
        """Tell MLflow results that belong to no step; `when` they came out, else now."""
        self._post("values", dict(values), time.time() if when is None else when)

    def artifact(self, path: Path, to: str = "") -> None:
        """Copy a file or folder to MLflow, into the folder `to` there."""
        self._post("artifact", {"path": str(path.resolve()), "to": to})

    def close(self, status: Status = "FINISHED", wait: float = 30.0) -> bool:
        """Send what is left, for at most `wait` seconds; what then remains is kept for `bloomery sync`.

        Returns whether MLflow has everything, or is not wanted to have it.
        """
        self._sampler.close()
        self._write()
        self._post("status", {"status": status}, time.time())
        return self._courier.close(wait)

    def _post(self, kind: str, content: dict[str, Any], when: float = 0.0) -> None:
        try:
            self.record.post(kind, content, when)
        except OSError as error:
            self.notify(f"{self.record.path}: cannot be written ({error}); it is tried again later")

    def _write(self) -> None:
        waiting = len(self._unwritten)
        try:
            while self._unwritten:
                metrics.write_line(self.path, self._unwritten[0])
                self._unwritten.popleft()
        except OSError as error:
            if waiting == 1:
                self.notify(f"{self.path}: cannot be written ({error}); the metrics wait until there is room")


class Courier:
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
        self._files = [server.MetricsSender(folder / name, record) for name in (metrics.METRICS, SYSTEM)]
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

    def waiting(self) -> int:
        """Number of lines of metrics that MLflow does not have."""
        return self._files[0].waiting()

    def send(self) -> None:
        """Send everything that waits, now; raises what MLflow raises."""
        if self._client is None:
            client = server.connect(self.uri)
            self._run_id = join_runs(client, self.uri, self.work, self.record)
            self._client = client
        messages = [one for one in self.record.state.messages if one.kind != "status"]
        states = [one for one in self.record.state.messages if one.kind == "status"]
        before = [one for one in states if one.content["status"] == "RUNNING"]
        server.send_messages(self._client, self._run_id, self.record, [*before, *messages], self.notify)
        for file in self._files:
            file.send(self._client, self._run_id)
        after = [one for one in states if one not in before]
        server.send_messages(self._client, self._run_id, self.record, after, self.notify)

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


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones: {"train": {"steps": 5}} becomes {"train.steps": 5}."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def describe_dataset(manifest: Manifest, path: Path, context: str) -> dict[str, Any]:
    """What MLflow shows of a dataset."""
    splits = {
        name: {field: split.total(field) for field in ("documents", "tokens", "text_bytes")}
        for name, split in manifest.splits.items()
    }
    return {
        "name": path.resolve().parent.name if path.name == "dataset" else path.name,
        "digest": manifest.fingerprint,
        "path": str(path.resolve()),
        "context": context,
        "profile": {"vocabulary": manifest.vocabulary_size, "splits": splits},
    }


def one_line(error: Exception) -> str:
    """An exception as one short line."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 200 else words[:197] + "..."
