"""Suites put to a model while it is trained, in whatever layout, with their scores as metrics of a step.

    suite_exam_last_word 0.62    suite_mine_copa 0.55    suite_mine_copa_4_shots 0.58

A copy of the weights is asked, one model's memory for as long as it takes; every data-parallel rank and
pipeline stage has a share of the questions. What is trained and every random state are as before.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from pipeline.config import EvalConfig
from pipeline.distributed import randomness
from pipeline.distributed.gathering import from_main, gathered, together
from pipeline.distributed.world import World
from pipeline.evaluation.exam.make import EXAM, make_exam
from pipeline.evaluation.tasks.asking import ask
from pipeline.evaluation.tasks.encoding import Encoder
from pipeline.evaluation.tasks.figures import figures
from pipeline.evaluation.tasks.prompts import Sitting
from pipeline.evaluation.tasks.records import Record
from pipeline.evaluation.tasks.suites import Suite, read_suite
from pipeline.generation.sampler import Sampler
from pipeline.parallel.engine import Engine
from pipeline.training.job import Job

QUESTIONS = 50
"""Of each paper of the dataset's exam, half as many as an evaluation's."""


class SuitesDuring:
    """The suites of one training. All ranks call everything together."""

    def __init__(self, job: Job, world: World, dtype: torch.dtype, chat: bool) -> None:
        """With `chat`, instructions are given in the chat template. `InputError` where a suite is wrong."""
        self.job, self.world, self.dtype, self.chat = job, world, dtype, chat
        self.suites: Sequence[Suite] = from_main(together(lambda: read(job) if world.is_main else []))

    def __call__(self, engine: Engine) -> dict[str, float]:
        """The scores of the engine's weights, the same on all ranks."""
        before = randomness.states()
        try:
            sampler = Sampler(engine, self.job.config, self.job.vocabulary, self.dtype)
            sampler.refresh()
            encoder = Encoder(sampler.model, self.chat)
            found = {}
            for name, task in ((suite.name, task) for suite in self.suites for task in suite.tasks):
                sittings = task.sittings(self.job.config.seed)
                records = [record for one in sittings for record in self._ask(one, encoder)]
                for one in figures(task, records):
                    found[metric(name, task.task.task, one["shots"])] = float(one["value"])
            return found
        finally:
            randomness.restore(before)

    def _ask(self, sitting: Sitting, encoder: Encoder) -> list[Record]:
        """The records of all questions in their order; this rank asks its share."""
        world = self.world
        share = world.data_rank + world.data_size * world.pipeline_rank
        own = sitting.questions[share :: world.data_size * world.pipeline_size]
        made = ask(sitting, own, encoder, self.job.stage) if own else []
        everyone = gathered(made if world.tensor_rank == 0 else [])
        return sorted((one for some in everyone for one in some), key=lambda one: one["number"])


def read(job: Job) -> list[Suite]:
    """The suites that a training names; `exam` is that of its dataset."""
    found = []
    for place in job.optim.suites:
        if place != EXAM:
            found.append(read_suite(Path(place)))
            continue
        suite = _exam(job.dataset, job.config.seed) if isinstance(job.dataset, Dataset) else None
        if suite is None:
            raise InputError(f"suites: {EXAM} needs a dataset whose validation split has sentences")
        found.append(suite)
    return found


def _exam(dataset: Dataset, seed: int) -> Suite | None:
    with TemporaryDirectory() as folder:
        return make_exam(dataset, EvalConfig(questions=QUESTIONS), seed, Path(folder) / EXAM)


def metric(suite: str, task: str, shots: int) -> str:
    """The name of a score.

    >>> metric("exam", "last word", 4)
    'suite_exam_last_word_4_shots'
    """
    name = re.sub(r"[^\w.-]+", "_", f"suite_{suite}_{task}")
    return f"{name}_{shots}_shots" if shots else name
