"""What MLflow holds, asked as a user would ask it."""

from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.config import TrackingConfig
from pipeline.tracking.server import connect
from pipeline.tracking.tracker import Tracker


class Store:
    """The runs of a tracking server."""

    def __init__(self, uri: str) -> None:
        self.client = connect(uri)

    def runs(self, name: str) -> list[Any]:
        """Every run of a name."""
        experiment = self.client.get_experiment_by_name("bloomery")
        found = self.client.search_runs([experiment.experiment_id])
        return [run for run in found if run.info.run_name == name]

    def run(self, name: str) -> Any:
        """The only run of a name."""
        (run,) = self.runs(name)
        return self.client.get_run(run.info.run_id)

    def steps(self, name: str, metric: str) -> Counter[int]:
        """How often MLflow has each step of a metric."""
        history = self.client.get_metric_history(self.run(name).info.run_id, metric)
        return Counter(point.step for point in history)

    def values(self, name: str, metric: str) -> dict[int, float]:
        """The values of a metric by step."""
        history = self.client.get_metric_history(self.run(name).info.run_id, metric)
        return {point.step: point.value for point in history}

    def artifacts(self, name: str, path: str | None = None) -> set[str]:
        """Paths of the artifacts of a run."""
        return {one.path for one in self.client.list_artifacts(self.run(name).info.run_id, path)}


def pretraining(work: Path, said: list[str] | None = None, steps: int = 100) -> Tracker:
    """A tracker of a stage called pretrain."""
    notify = print if said is None else said.append
    return Tracker(work / "pretrain", work, "pretrain", {"train": {"steps": steps}}, TrackingConfig(), notify)


def once(steps: range) -> Counter[int]:
    """Each of the steps once."""
    return Counter(steps)
