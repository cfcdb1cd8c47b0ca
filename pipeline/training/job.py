"""What a training stage is given, and the folder that it keeps.

A run's folder belongs to one configuration. Where another one is found in it, it is set aside under a name of
its own, never overwritten; where the same one is found, training goes on from its newest checkpoint.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO

from data_prep.contract.dataset import TOKENIZER, Dataset
from data_prep.contract.pictures import ImageDataset
from data_prep.contract.receipt import fingerprint, is_done, write_atomic
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.run_folder import IDENTITY, identity_of, write_config
from pipeline.config import OptimizerConfig, PipelineConfig
from pipeline.costs import flops
from pipeline.costs import vision as images
from pipeline.objectives.registry import objective_of

LOCK_SECONDS = 10.0
"""How long a process that is being ended may hold the lock of a run's folder."""


@dataclass(frozen=True)
class Job:
    """One training."""

    stage: str
    """The name of the stage and of its folder."""
    work: Path
    """The recipe's work folder."""
    config: PipelineConfig
    """The whole configuration."""
    dataset: Dataset | ImageDataset | None
    """The dataset that it reads, where it reads one."""
    inputs: dict[str, str]
    """Fingerprints of what goes in."""
    start_from: Path | None = None
    """The checkpoint whose weights to start with; None draws them."""
    restarts: int = 0
    """How often a supervisor has started it again after a failure."""
    kind: str = "pretrain"
    """The kind of the stage."""
    mark: str = "pretrain"
    """What stands for the kind in the fingerprint."""
    tokenizer: Path | None = None
    """The tokenizer, where it is not the dataset's."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Further files of the run's folder, by name."""
    counted: int | None = None
    """Number of the model's parameters, where its head is not that of the objective."""

    @property
    def optim(self) -> OptimizerConfig:
        """The training's own keys."""
        return self.config.train

    @property
    def tokenizer_file(self) -> Path:
        """The tokenizer that the model reads with, where it `reads_text`."""
        assert self.tokenizer or self.dataset
        return self.tokenizer or self.dataset.folder / TOKENIZER  # type: ignore[union-attr]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The same, opened."""
        return (
            self.dataset.vocabulary
            if self.dataset and not self.tokenizer
            else Vocabulary(self.tokenizer_file)
        )

    @property
    def vocabulary_size(self) -> int:
        """Pieces of the tokenizer; none where the model reads images alone."""
        return self.vocabulary.size if self.config.reads_text else 0

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.work / self.stage

    @property
    def fingerprint(self) -> str:
        """Stands for all that decides what comes out; the parallel layout does not."""
        config = self.config
        model = (config.model,) if config.reads_text else ()
        vision = () if config.vision is None else (config.vision,)
        sections = (*model, *vision, config.objective, config.data, self.optim)
        return fingerprint(self.mark, [section.identity() for section in sections], config.seed, self.inputs)

    @property
    def parameters(self) -> int:
        """Number of the model's parameters."""
        if self.counted is not None:
            return self.counted
        config, rows = self.config, flops.padded_vocabulary(self.vocabulary_size)
        if config.vision is not None:
            return images.parameters(config, rows)
        return flops.parameters(config.model, rows, config.position_table, config.objective)

    @property
    def active_parameters(self) -> int:
        """Those that a token goes through: fewer where there are experts."""
        idle = flops.idle_weights(self.config.model) if self.config.reads_text else 0
        return self.parameters - idle

    @property
    def sample_flops(self) -> float:
        """Model FLOPs of training on one sample, by the formula of `pipeline.costs.flops`."""
        if self.config.vision is not None:
            return images.training_per_sample(self.config, flops.padded_vocabulary(self.vocabulary_size))
        rows = flops.padded_vocabulary(self.vocabulary.size)
        lengths = objective_of(self.config.objective).shape(self.config.data).lengths
        objective = self.config.objective if self.counted is None else None
        return flops.training_per_sample(self.config.model, lengths, rows, objective)

    def is_done(self) -> bool:
        """Whether the run's receipt is of this very job."""
        return is_done(self.folder, self.fingerprint)


def open_folder(job: Job, notify: Callable[[str], None]) -> IO[str]:
    """Make the run's folder ready; returns its lock, held until it is closed.

    Raises `InputError` where another process is training in it, and goes on doing so: one that is being ended
    is waited for.
    """
    job.work.mkdir(parents=True, exist_ok=True)
    lock = (job.work / f".{job.stage}.lock").open("w")
    _take(lock, job)
    _set_aside_another(job, notify)
    job.folder.mkdir(parents=True, exist_ok=True)
    write_config(job.folder, job.config)
    if job.config.reads_text:
        shutil.copyfile(job.tokenizer_file, job.folder / TOKENIZER)
    for name, content in job.notes.items():
        write_atomic(job.folder / name, content)
    identity: dict[str, object] = {
        "stage": job.stage,
        "kind": job.kind,
        "fingerprint": job.fingerprint,
        "inputs": job.inputs,
    }
    if job.dataset:
        identity["dataset"] = os.path.relpath(job.dataset.folder.resolve(), job.folder.resolve())
    write_atomic(job.folder / IDENTITY, json.dumps(identity, indent=2) + "\n")
    return lock


def _take(lock: IO[str], job: Job) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise InputError(
                    f"{job.folder}: another process is training here; wait for it or end it"
                ) from None
            time.sleep(0.2)


def has_begun(job: Job) -> bool:
    """Whether the job's folder is there and of this very job."""
    return _identity(job.folder) == job.fingerprint


def _identity(run: Path) -> str | None:
    found: str | None = identity_of(run).get("fingerprint")
    return found


def _set_aside_another(job: Job, notify: Callable[[str], None]) -> None:
    found = _identity(job.folder)
    if found in (None, job.fingerprint):
        return
    aside = job.folder.with_name(f"{job.stage}.{found}")
    if aside.exists():
        shutil.rmtree(aside)
    job.folder.rename(aside)
    notify(f"{job.folder} was made with other settings or data; it is kept as {aside}")
