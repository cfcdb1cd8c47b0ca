"""A training that is put suites to every so many steps: what its stage learns, and the asking."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.contract.settings import InputError

if TYPE_CHECKING:
    import torch

    from pipeline.distributed.world import World
    from pipeline.training.job import Job
    from pipeline.training.task import MakeTask, Task


def check_suites(job: "Job", speaks: bool) -> None:
    """`InputError` where a training's suites cannot be put to what it trains."""
    if not job.optim.suites:
        return
    if not speaks or not job.config.can_answer:
        raise InputError(
            f"{job.stage}: suites are for models that go on with a text; leave the key out of this stage"
        )
    from pipeline.evaluation.exam.make import EXAM
    from pipeline.evaluation.tasks.suites import identity_of

    for place in job.optim.suites:
        if place != EXAM:
            identity_of(Path(place))


def with_suites(make_task: "MakeTask", chats: bool) -> "MakeTask":
    """The same task, and its job's suites where that has some."""

    def make(job: "Job", world: "World", dtype: "torch.dtype") -> "Task":
        task = make_task(job, world, dtype)
        if not job.optim.suites:
            return task
        from pipeline.evaluation.during import SuitesDuring

        return replace(task, asked=SuitesDuring(job, world, dtype, chats))

    return make
