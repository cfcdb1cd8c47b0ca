"""What a stage is, whichever package does it: a node of a recipe's graph, and the kind that gives it meaning.

    stages:
      dataset:  {kind: prep}
      base:     {kind: pretrain, data: dataset, steps: 1000}
      report:   {kind: evaluate, of: [base]}

A stage reads its inputs and writes one folder, WORK/NAME, with a receipt. A kind of stage is one class: what
it takes and gives, its settings, what it computes or trains, its part of the report. A registry
(`pipeline.stages.registry`) knows the kinds by name; whoever runs, tracks or reports stages does not.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from data_prep.contract.dataset import MANIFEST, Dataset
from data_prep.contract.lock import locked
from data_prep.contract.pictures import ImageDataset, holds_pictures
from data_prep.contract.receipt import (
    Receipt,
    file_hash,
    fingerprint,
    is_done,
    read_receipt,
    versions,
    write_receipt,
)
from data_prep.contract.report import StageReport
from data_prep.contract.settings import InputError, Settings

Notify = Callable[[str], None]

DATASET, RUN, FILES, PICTURES = "dataset", "run", "files", "pictures"
"""What stages give and take: a dataset of text, in a folder or at an address, a run of a training, files, a
dataset of pictures."""


class Input(NamedTuple):
    """A key of a stage in the recipe that names what the stage reads."""

    key: str
    takes: tuple[str, ...]
    """What it may be: DATASET, RUN, FILES, or whatever else a kind gives."""
    required: bool = True
    many: bool = False
    """Whether it may be several."""


@dataclass(frozen=True)
class Source:
    """One thing that a stage reads."""

    label: str
    """As the recipe names it."""
    place: str
    """Its folder, file or address."""
    stage: str = ""
    """The stage of the same recipe that makes it; empty for what is there already."""

    @property
    def path(self) -> Path:
        """The place, where it is no address."""
        return Path(self.place)


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe, in its place."""

    name: str
    kind: str
    recipe: str
    """The recipe's name."""
    seed: int
    work: Path
    """The recipe's work folder."""
    sections: Mapping[str, Settings]
    """The sections that the kind reads, such as model, with the stage's keys over the recipe's."""
    settings: Settings
    """The stage's own keys."""
    inputs: Mapping[str, tuple[Source, ...]] = field(default_factory=dict)
    address: str = ""
    """Where the work folder's datasets lie in object storage; empty where they lie in the work folder."""

    @property
    def folder(self) -> Path:
        """What the stage writes."""
        return self.work / self.name

    def source(self, key: str) -> Source | None:
        """The one input of a key; None where the recipe names none."""
        found = self.inputs.get(key, ())
        return found[0] if found else None

    def needs(self) -> list[str]:
        """The stages of the recipe that this one reads, in the order of its inputs."""
        names = [one.stage for sources in self.inputs.values() for one in sources if one.stage]
        return list(dict.fromkeys(names))


class Kind(ABC):
    """A kind of stage. One that computes has `compute`; one that trains is a `pipeline.stages.Training`."""

    name: ClassVar[str]
    """Its word in a recipe."""
    gives: ClassVar[str]
    """What other stages may read of it."""
    inputs: ClassVar[tuple[Input, ...]] = ()
    sections: ClassVar[tuple[str, ...]] = ()
    """The recipe's sections that it reads."""
    inherits: ClassVar[str] = ""
    """The input, a run, that says what the sections leave out; empty where none does."""
    inherited: ClassVar[tuple[str, ...]] = ("model", "objective")
    """Those sections."""
    settings: ClassVar[type[Settings]] = Settings
    """Its own keys."""
    section: ClassVar[str] = ""
    """The recipe's section of its keys for all stages of the kind; empty where stages alone have them."""
    trains: ClassVar[bool] = False
    """Whether processes of a launcher run it, and not the command itself."""
    artifacts: ClassVar[tuple[str, ...]] = ()
    """Files of its folder that MLflow gets a copy of."""
    tables: ClassVar[tuple[str, ...]] = ()
    """Those of them that MLflow shows as tables."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Packages whose versions go into its receipt."""

    def fingerprint(self, stage: Stage) -> str:
        """Stands for all that decides what comes out. `InputError` where an input is not there."""
        parts = [section.identity() for section in stage.sections.values()]
        return fingerprint(self.name, parts, stage.settings.identity(), stage.seed, self.read(stage))

    def read(self, stage: Stage) -> dict[str, str]:
        """Fingerprints of the inputs, each by its key and place there."""
        return {
            f"{key}[{index}]" if len(sources) > 1 else key: identify(source)
            for key, sources in stage.inputs.items()
            for index, source in enumerate(sources)
        }

    def is_done(self, stage: Stage) -> bool:
        """Whether the stage's receipt is of this very configuration and these inputs."""
        return is_done(stage.folder, self.fingerprint(stage))

    def check(self, stage: Stage) -> None:  # noqa: B027 - most kinds find nothing more
        """`InputError` for what can be found wrong in the inputs before any process is started."""

    def run(self, stage: Stage, notify: Notify) -> Receipt:
        """Compute the stage where its receipt does not match."""
        with locked(stage.folder, f"running {stage.name}"):
            return self._run(stage, notify)

    def _run(self, stage: Stage, notify: Notify) -> Receipt:
        wanted, begun = self.fingerprint(stage), time.time()
        found = read_receipt(stage.folder)
        if found is not None and found.fingerprint == wanted:
            notify(f"{stage.name}: {stage.folder} is up to date")
            return found
        stage.folder.mkdir(parents=True, exist_ok=True)
        counts = self.compute(stage, notify)
        receipt = Receipt(
            stage=stage.name,
            kind=self.name,
            fingerprint=wanted,
            config=self.config(stage),
            inputs=self.read(stage),
            counts=counts,
            seconds=time.time() - begun,
            versions=versions(*self.libraries),
        )
        write_receipt(stage.folder, receipt)
        return receipt

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Write the stage's folder; returns what went in and what came out, for the receipt."""
        raise NotImplementedError(f"{self.name} computes nothing here")

    def config(self, stage: Stage) -> dict[str, Any]:
        """The resolved configuration, for the receipt."""
        sections = {name: section.model_dump(mode="json") for name, section in stage.sections.items()}
        return sections | stage.settings.model_dump(mode="json")

    @abstractmethod
    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """The stage's part of the report, from what it left."""


def identify(source: Source) -> str:
    """What stands for what a stage reads: its receipt's or dataset's fingerprint, or a file's hash."""
    receipt = read_receipt(source.path)
    if receipt is not None:
        return receipt.fingerprint
    if holds_pictures(source.path):
        return ImageDataset(source.path).manifest.fingerprint
    if (source.path / MANIFEST).is_file():
        return Dataset(source.path).manifest.fingerprint
    if source.path.is_file():
        return file_hash(source.path)
    if source.stage:
        raise InputError(f"{source.place}: the stage {source.stage} has not ended; run it first")
    raise InputError(f"{source.label}: {source.place} is no file and no folder of a finished stage")
