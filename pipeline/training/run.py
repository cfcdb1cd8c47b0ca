"""What every process of a training does, from joining the world to leaving it."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import torch.distributed as dist

from data_prep.contract.settings import InputError
from pipeline.checkpoints.format import complete
from pipeline.distributed import world
from pipeline.distributed.gathering import from_main, together
from pipeline.health import watchdog
from pipeline.health.stopping import StopRequest
from pipeline.health.watchdog import Watchdog
from pipeline.objectives.batches import BatchSource
from pipeline.training.job import Job, open_folder
from pipeline.training.task import MakeTask, own_objective
from pipeline.training.trainer import train

Batches: TypeAlias = Callable[[world.World], BatchSource]


def run(
    job: Job,
    batches: Batches,
    resume: bool = False,
    stop: StopRequest | None = None,
    make_task: MakeTask = own_objective,
    others: Sequence[tuple[Job, Batches]] = (),
) -> bool:
    """Train in this process, one of those that the launcher started; `batches` makes this rank's data.

    Other jobs of the same stage are trained before it, in folders of their own. With `resume` a run that has
    no checkpoint yet is an `InputError`, on every rank. Returns whether the last step is done; False where
    `stop` came before.
    """
    stop = stop or StopRequest()
    parallel = job.config.parallel
    job.optim.accumulation(parallel.data_size(int(os.environ.get("WORLD_SIZE", "1"))))
    if resume and not complete(job.folder):
        raise InputError(f"{job.folder}: nothing to resume, the run has no complete checkpoint")
    here = world.start(parallel, job.config.seed)
    notify = say if here.is_main else quiet
    beats = job.work / f".{job.stage}.watch"
    locks = [together(lambda: open_folder(job, notify) if here.is_main else None)]
    try:
        together(lambda: watchdog.open_folder(beats) if here.is_main else None)
        with Watchdog(beats, job.folder, here.rank, here.size, job.optim.step_timeout_seconds) as watch:
            finished = True
            for one, its in [*others, (job, batches)]:
                if not finished or (one is not job and from_main(one.is_done())):
                    continue
                if one is not job:
                    locks.append(together(partial(open_folder, one, notify) if here.is_main else _nothing))
                watch.phase("start", 0)
                world.start(parallel, one.config.seed)  # the random numbers of this one
                finished = train(one, here, its(here), notify, watch, stop, make_task)
            dist.barrier()
            stop.leave()
        if here.is_main:
            watchdog.remove_folder(beats)
    finally:
        for lock in locks:
            if lock:
                lock.close()
    world.stop()
    return finished


def _nothing() -> None:
    """What ranks other than the first open."""


def say(line: str) -> None:
    """Print a line at once, so that a log shows it when it happens."""
    print(line, flush=True)


def quiet(line: str) -> None:
    """What ranks other than the first have to say."""
