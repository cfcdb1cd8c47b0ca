"""The stages of a recipe, each skipping what its receipt says is done."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data_prep.contract.dataset import Dataset
from data_prep.contract.receipt import Receipt, read_receipt
from data_prep.contract.settings import InputError
from data_prep.standing_in import stand_in
from data_prep.storage import Storage
from launch.attempts import folder_of
from launch.hosts import HostsLauncher
from launch.local import LocalLauncher
from launch.recipe import Recipe
from launch.supervise import Launcher, Supervisor
from pipeline.reports.publish import publish, track_stage
from pipeline.training import job, jobs


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
    address: str = ""
    """Where the dataset lies in object storage; empty where it lies in the work folder."""
    deadline: float | None = None
    """When, by `time.monotonic`, a training is to save and leave."""
    hostfile: Path | None = None
    """Hosts to train on; None is this machine."""

    def prep(self) -> Receipt:
        """Raw documents to a dataset."""
        from data_prep.run import prepare

        others = sorted(self.work.resolve().parent.glob("*/dataset"))
        receipt = prepare(self.recipe.prep(), self._storage(), self.notify, others)
        track_stage(self.work, "dataset", self.recipe.tracking, self.notify)
        return receipt

    def train(self, resume: bool = False) -> Receipt:
        """A dataset to a pretrained model."""
        self._find_dataset()
        return self._training(jobs.pretraining(self.recipe.pipeline(), self.work), resume)

    def tune(self, resume: bool = False) -> Receipt:
        """A pretrained model and instructions to a tuned one."""
        self._find_dataset()
        return self._training(jobs.tuning(self.recipe.pipeline(), self.work), resume)

    def eval(self) -> Receipt:
        """Trained models to figures, samples and the report."""
        from pipeline.evaluation.evaluate import evaluate
        from pipeline.reports.report import write_report

        self._find_dataset()
        trained = {"pretrained": self.work / "pretrain", "tuned": self.work / "tune"}
        runs = {name: folder for name, folder in trained.items() if read_receipt(folder)}
        config, dataset = self.recipe.pipeline(), Dataset(self.work / "dataset")
        if not runs:
            raise InputError(f"{self.work / 'pretrain'}: no finished training; run `bloomery train` first")
        receipt = evaluate(config, dataset.folder, runs, self.work / "eval", self.notify)
        track_stage(self.work, "eval", config.tracking, self.notify)
        report = write_report(self.work)
        publish(self.work, config.tracking, self.notify)
        self.notify(f"report: {report.resolve()}")
        return receipt

    def all(self) -> None:
        """Every stage in turn."""
        self.prep()
        self.train()
        if self.recipe.tune.enabled and self.recipe.can_answer:
            self.tune()
        self.eval()

    def _storage(self) -> Storage:
        return Storage(self.work / "dataset", self.address and f"{self.address}/dataset")

    def _find_dataset(self) -> None:
        """Have the work folder stand for the dataset, where that lies elsewhere."""
        if self.address:
            stand_in(self._storage())

    def _training(self, what: job.Job, resume: bool) -> Receipt:
        if not what.is_done():
            flags = ["--resume"] if resume else []
            launcher = self._launcher(what, [*self.arguments, *flags])
            status = Supervisor(what, launcher, self.recipe.supervise, self.notify, self.deadline).run()
            if status:
                raise TrainingFailedError(what.stage, status)
        else:
            self.notify(f"{what.stage}: {what.folder} is up to date")
        receipt = read_receipt(what.folder)
        assert receipt is not None
        return receipt

    def _launcher(self, what: job.Job, arguments: list[str]) -> Launcher:
        parallel, optim = what.config.parallel, what.optim
        if self.hostfile is None:
            return LocalLauncher(arguments, parallel, optim)
        folder = folder_of(self.work, what.stage)
        return HostsLauncher(
            arguments, self.hostfile, folder, parallel, optim, self.recipe.supervise, self.notify
        )
