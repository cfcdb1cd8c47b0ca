"""Running the stages of a recipe, each skipped where its receipt says that it is done.

The kind of a stage says whether it trains, which a launcher's processes do under a supervisor, or computes,
which is done here. Nothing here knows a kind by name.
"""

import resource
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from data_prep.contract.dataset import ADDRESS
from data_prep.contract.lock import reading
from data_prep.contract.receipt import Receipt, read_receipt
from data_prep.contract.settings import InputError
from data_prep.contract.stages import DATASET, Kind, Stage
from data_prep.stage import storage_of
from data_prep.standing_in import stand_in
from launch.attempts import folder_of
from launch.doctor.finding import host_memory, size
from launch.doctor.fit import what_trains
from launch.graph import Graph, graph
from launch.hosts import HostsLauncher
from launch.local import LocalLauncher, Place, available, choose_processes, count_gpus
from launch.recipe import Recipe
from launch.supervise import Launcher, Supervisor
from pipeline.costs import memory
from pipeline.costs import vision as images
from pipeline.costs.flops import padded_vocabulary
from pipeline.objectives.registry import objective_of
from pipeline.reports.findings import GRAPH, USUAL, write_graph
from pipeline.stages.summary import summarise, track
from pipeline.stages.training import Training, check_layout
from pipeline.tracking.tracker import flatten
from pipeline.training.job import Job

FEWEST_FILES = 256


class TrainingFailedError(RuntimeError):
    """A training ended with a status other than 0; its processes have said why."""

    def __init__(self, stage: str, status: int) -> None:
        super().__init__(f"{stage} ended with status {status}")
        self.status = status


@dataclass(frozen=True)
class Runner:
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

    @property
    def graph(self) -> Graph:
        """The recipe's stages; what one starts from may have been imported meanwhile."""
        return graph(self.recipe, self.work, self.address)

    def run(self, names: Iterable[str] | None = None) -> None:
        """The named stages, or all, with what they need; then the report."""
        for stage in self.graph.with_needs(names):
            self.stage(stage)
        self.report()

    def of_kind(self, kind: str, resume: bool = False) -> list[Receipt]:
        """Every stage of a kind, without what it needs."""
        stages = self.graph.of_kind(kind)
        if not stages:
            raise InputError(f"{self.recipe.path}: no stage is of kind {kind}")
        return [self.stage(stage, resume) for stage in stages]

    def stage(self, stage: Stage, resume: bool = False) -> Receipt:
        """One stage. `InputError` where what it reads is not there."""
        kinds = self.graph
        self.leave_graph(kinds)
        self._find_datasets(kinds, stage)
        kind = kinds.kind(stage)
        if kind.gives != DATASET:
            make_room_for_files()
        if kind.trains:
            return self.training(stage, resume)
        receipt = kind.run(stage, self.notify)
        track(self.work, stage.name, kinds.kinds, self.recipe.tracking, self.notify)
        return receipt

    def report(self) -> Path:
        """The report of what there is, here and in MLflow."""
        report = summarise(self.work, self.graph.kinds, self.recipe.tracking, self.notify)
        self.notify(f"report: {report.resolve()}")
        return report

    def leave_graph(self, found: Graph) -> None:
        """For whoever reads the work folder without the recipe; the usual four need no file."""
        named = self.recipe.stages or self.recipe.study
        if named or (self.work / GRAPH).is_file() or {*found.stages} != {*USUAL}:
            about = {
                name: {"kind": stage.kind, "needs": stage.needs()} for name, stage in found.stages.items()
            }
            write_graph(self.work, about)

    def _find_datasets(self, found: Graph, stage: Stage) -> None:
        """Have folders of the work folder stand for the datasets that lie at an address."""
        if self.address:
            for name in stage.needs():
                if found.kind(found.stages[name]).gives == DATASET:
                    stand_in(storage_of(found.stages[name]))

    def training(
        self,
        stage: Stage,
        resume: bool = False,
        place: Place | None = None,
        watch: Callable[[Supervisor], int] = Supervisor.run,
    ) -> Receipt:
        """One stage that trains, on a part of this machine or on all there is; `watch` sees it to its end."""
        kind = self.graph.kind(stage)
        assert isinstance(kind, Training)
        job = kind.job(stage)
        if not job.is_done():
            check_layout(job)
            kind.check(stage)
            if job.dataset and not self.address and not (job.dataset.folder / ADDRESS).is_file():
                job.dataset.check_there()
            self._check_memory(job)
            flags = ["--resume"] if resume else []
            launcher = self._launcher(job, [*self.arguments, *flags], place)
            supervisor = Supervisor(job, launcher, self.recipe.supervise, self.notify, self.deadline)
            with reading(job.dataset.folder, "training on what is") if job.dataset else nullcontext():
                status = watch(supervisor)
            if status:
                raise TrainingFailedError(job.stage, status)
        else:
            self.notify(f"{job.stage}: {job.folder} is up to date")
        kind.conclude(stage, self.notify)
        receipt = read_receipt(job.folder)
        assert receipt is not None
        return receipt

    def _check_memory(self, job: Job) -> None:
        """`InputError` where weights and optimizer alone are more than this machine could ever hold."""
        if self.hostfile is not None or count_gpus():
            return
        there = host_memory()
        processes = choose_processes(job.config.parallel, job.optim, available(0), exact=True)
        data = job.config.parallel.data_size(processes)
        wanted = processes * _held(job, data)
        if wanted > there:
            raise InputError(
                f"{job.stage}: weights, gradients and optimizer states of {processes} processes are "
                f"{size(wanted)}, and this machine has {size(there)}; make the model smaller"
            )

    def _launcher(self, job: Job, arguments: list[str], place: Place | None) -> Launcher:
        parallel, optim = job.config.parallel, job.optim
        if self.hostfile is None:
            return LocalLauncher(arguments, parallel, optim, place)
        folder = folder_of(self.work, job.stage)
        return HostsLauncher(
            arguments, self.hostfile, folder, parallel, optim, self.recipe.supervise, self.notify
        )


def make_room_for_files() -> None:
    """Let this process and its children open as many files as a small world does. `InputError` where not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < FEWEST_FILES:
        raise InputError(
            f"ulimit -n: {hard} files may be open at once, and torch needs {FEWEST_FILES}; raise it"
        )
    if 0 <= soft < FEWEST_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FEWEST_FILES, hard))


@dataclass(frozen=True)
class StageState:
    """How a stage stands."""

    name: str
    kind: str
    needs: list[str]
    state: str
    """done, out of date, begun or missing."""
    why: str
    """What has changed, or what it waits for."""


def states(found: Graph) -> list[StageState]:
    """How every stage of a graph stands, in order."""
    told: dict[str, StageState] = {}
    for name, stage in found.stages.items():
        state, why = _state(found.kind(stage), stage, told)
        told[name] = StageState(name, stage.kind, stage.needs(), state, why)
    return list(told.values())


def _state(kind: Kind, stage: Stage, told: dict[str, StageState]) -> tuple[str, str]:
    receipt = read_receipt(stage.folder)
    behind = [name for name in stage.needs() if told[name].state != "done"]
    if receipt is None:
        begun = stage.folder.is_dir() and any(stage.folder.iterdir())
        return "begun" if begun else "missing", f"waits for {', '.join(behind)}" if behind else ""
    if behind:
        return "out of date", f"{', '.join(behind)} {'is' if len(behind) == 1 else 'are'} not done"
    try:
        if kind.is_done(stage):
            return "done", ""
    except InputError as error:
        return "out of date", str(error)
    return "out of date", change(receipt, kind.config(stage))


def change(receipt: Receipt, config: dict[str, object]) -> str:
    """The first key that differs from a receipt's, or that something that goes in does."""
    was, now = flatten(receipt.config), flatten(config)
    for key in now:
        if key in was and was[key] != now[key]:
            return f"{key} was {was[key]!r} and is {now[key]!r}"
    return "what goes in has changed"


def _held(job: Job, data: int) -> float:
    """Bytes of weights, gradients and optimizer states on a rank, of so many data-parallel ones."""
    if job.config.vision is not None:
        sizes = job.config.parallel
        return images.held_bytes(job.parameters, sizes.tensor * sizes.pipeline, data, sizes.zero_stage)
    rows = padded_vocabulary(job.vocabulary_size)
    lengths = objective_of(job.config.objective).shape(job.config.data).lengths
    need = memory.peak(job.config, lengths, job.optim, rows, data, False, what_trains(job.config, rows))
    return need.weights + need.gradients + need.optimizer
