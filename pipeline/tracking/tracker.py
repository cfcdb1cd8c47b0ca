"""What a training loop tells about itself: into `metrics.jsonl` at once, to MLflow in the background.

    tracker = Tracker(work / "pretrain", work, "pretrain", config.model_dump(mode="json"), config.tracking)
    tracker.start_from(step)          # the step that a resume starts at, 0 for a new run
    tracker.log(step, {"loss": 5.3})
    tracker.close("FINISHED")

An `MLflowSender` brings them to MLflow from the first step on; what it could not bring is sent later, by this
run when it goes on or by `bloomery sync`.
"""

import time
from collections import deque
from pathlib import Path
from typing import Any, Literal

from data_prep.contract.dataset import Manifest
from data_prep.contract.names import without_password, without_passwords
from data_prep.contract.pictures import PictureManifest
from data_prep.contract.receipt import fingerprint
from pipeline.config import TrackingConfig
from pipeline.tracking import metrics
from pipeline.tracking.mlflow_sender import MLflowSender, Notify
from pipeline.tracking.record import STAGE_RECORD, Record
from pipeline.tracking.system import SYSTEM, SystemSampler

DIGEST_LENGTH = 36
"""What MLflow takes."""
Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


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
        self._sender = MLflowSender(stage_folder, work, self.record, settings.enabled, notify)
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
        self._post("parameters", flatten(without_passwords(self._config)))

    def go_back(self, step: int) -> None:
        """The steps after `step` will be done again: their lines are dropped.

        MLflow keeps those that it has; done again, the same batches give the same values.
        """
        metrics.drop_after(self.path, step)
        self._sender.rewind()

    def log(self, step: int, values: dict[str, float]) -> None:
        """Write the metrics of a step that is done; where the disk is full, they wait for room."""
        self._unwritten.append(metrics.make_line(step, values))
        self._write()
        self._sender.start()
        self._sampler.start()

    def dataset(self, manifest: Manifest | PictureManifest, path: Path, context: str = "training") -> None:
        """Name the dataset that the stage reads; its fingerprint is the digest."""
        self._post("dataset", describe_dataset(manifest, path, context))

    def input(self, path: str, digest: str) -> None:
        """Name something else that the stage reads, such as a file, by its hash or fingerprint."""
        path = without_password(path)
        about = {"name": Path(path).name, "digest": digest[:DIGEST_LENGTH], "path": path}
        self._post("dataset", about | {"context": "training", "profile": {}})

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
        return self._sender.close(wait)

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


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones: {"train": {"steps": 5}} becomes {"train.steps": 5}."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def describe_dataset(manifest: Manifest | PictureManifest, path: Path, context: str) -> dict[str, Any]:
    """What MLflow shows of a dataset."""
    pictures = isinstance(manifest, PictureManifest)
    fields = ("samples", "bytes") if pictures else ("documents", "tokens", "text_bytes")
    splits = {
        name: {field: split.total(field) for field in fields} for name, split in manifest.splits.items()
    }
    return {
        "name": path.resolve().parent.name if path.name == "dataset" else path.name,
        "digest": manifest.fingerprint,
        "path": str(path.resolve()),
        "context": context,
        "profile": {"vocabulary": manifest.vocabulary_size, "splits": splits},
    }
