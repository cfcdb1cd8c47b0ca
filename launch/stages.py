"""The stages of a recipe, each skipping what its receipt says is done."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.contract.dataset import Dataset
from data_prep.contract.receipt import Receipt, read_receipt
from launch.local import run_training
from launch.recipe import Recipe
from pipeline.tracking.tracker import Tracker
from pipeline.training import job


class TrainingFailedError(RuntimeError):
    """A training ended with a status other than 0; its processes have said why."""

    def __init__(self, stage: str, status: int) -> None:
        super().__init__(f"{stage} ended with status {status}")
        self.status = status


@dataclass(frozen=True)
class Stages:
    """A recipe in its work folder."""

    recipe: Recipe
    work: Path
    arguments: list[str]
    """The command line that reads the same recipe again: its path, --set, --work."""
    notify: Callable[[str], None]

    def prep(self) -> Receipt:
        """Raw documents to a dataset."""
        from data_prep.run import prepare

        folder, started = self.work / "dataset", time.time()
        receipt = prepare(self.recipe.prep(), folder, self.notify)
        if receipt.finished >= started:
            self._track_prep(folder, receipt)
        return receipt

    def train(self, resume: bool = False) -> Receipt:
        """A dataset to a pretrained model."""
        return self._training(job.pretraining(self.recipe.pipeline(), self.work), resume)

    def tune(self, resume: bool = False) -> Receipt:
        """A pretrained model and instructions to a tuned one."""
        return self._training(job.tuning(self.recipe.pipeline(), self.work), resume)

    def eval(self) -> Receipt:
        """Trained models to figures, samples and the report."""
        from pipeline.evaluation.evaluate import evaluate

        trained = {"pretrained": self.work / "pretrain", "tuned": self.work / "tune"}
        runs = {name: folder for name, folder in trained.items() if read_receipt(folder)}
        return evaluate(self.recipe.pipeline(), self.work / "dataset", runs, self.work / "eval", self.notify)

    def all(self) -> Path:
        """Every stage; returns the report's path."""
        self.prep()
        self.train()
        if self.recipe.tune.enabled:
            self.tune()
        self.eval()
        return self.work / "report.html"

    def _training(self, what: job.Job, resume: bool) -> Receipt:
        if not what.is_done():
            what.optim.accumulation(1)
            flags = ["--stage", what.stage, *(["--resume"] if resume else [])]
            status = run_training([*self.arguments, *flags], what.config.parallel, what.optim)
            if status:
                raise TrainingFailedError(what.stage, status)
        else:
            self.notify(f"{what.stage}: {what.folder} is up to date")
        receipt = read_receipt(what.folder)
        assert receipt is not None
        return receipt

    def _track_prep(self, folder: Path, receipt: Receipt) -> None:
        config: dict[str, Any] = self.recipe.prep().model_dump(mode="json")
        tracker = Tracker(folder, self.work, "prep", config, self.recipe.tracking, self.notify)
        tracker.start_from(0)
        tracker.dataset(Dataset(folder).manifest, folder, context="preparation")
        numbers = {name: value for name, value in receipt.counts.items() if isinstance(value, int | float)}
        tracker.values(numbers)
        tracker.artifact(folder / "receipt.json")
        tracker.close("FINISHED")
