"""Stages of a graph with trainings side by side: on one GPU each, or on one processor where there are none.

Stages are taken in their order. Trainings that follow one another and do not read one another are started
together, the longest first, as many as there are places; a stage that computes waits for all before it, and
all behind it wait for it. Over hosts there is one place, which is all of them.
"""

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from data_prep.contract.stages import Stage
from launch.local import Place
from launch.runner import Runner, TrainingFailedError, make_room_for_files
from launch.start import INTERRUPTED
from launch.supervise import Supervisor, heard
from pipeline.health.stopping import RESUME
from pipeline.stages.training import Training


class SideBySide:
    """Runs stages of a runner's recipe on places."""

    def __init__(self, runner: Runner, places: Iterable[Place | None]) -> None:
        self.runner = runner
        self._places: queue.SimpleQueue[Place | None] = queue.SimpleQueue()
        self.count = 0
        for place in places:
            self._places.put(place)
            self.count += 1
        self._lock, self._stopping = threading.Lock(), False
        self._supervisors: list[Supervisor] = []

    def run(self, stages: Iterable[Stage]) -> None:
        """All stages. Raises `TrainingFailedError` where one fails, after those beside it have ended."""
        graph = self.runner.graph
        self.runner.leave_graph(graph)
        make_room_for_files()
        for group in groups(stages, lambda stage: graph.kind(stage).trains):
            if graph.kind(group[0]).trains:
                self._train(group)
            else:
                self.runner.stage(group[0])

    def _train(self, stages: list[Stage]) -> None:
        kinds = self.runner.graph
        due = []
        for stage in stages:
            kind = kinds.kind(stage)
            assert isinstance(kind, Training)
            job = kind.job(stage)
            if job.is_done():
                self.runner.notify(f"{stage.name}: {stage.folder} is up to date")
            else:
                due.append((job.optim.samples_before(job.optim.steps) * job.sample_flops, stage))
        longest = [stage for _, stage in sorted(due, key=lambda one: -one[0])]
        with heard(self._stop), ThreadPoolExecutor(self.count) as pool:
            ended: list[Future[None]] = [pool.submit(self._one, stage) for stage in longest]
            try:
                failed = [error for one in ended if (error := one.exception()) is not None]
            except KeyboardInterrupt:  # a second signal: at once, and what was started ends with this process
                os._exit(INTERRUPTED)
        if failed:
            raise min(failed, key=was_stopped)

    def _one(self, stage: Stage) -> None:
        if self._stopping:
            raise TrainingFailedError(stage.name, RESUME)
        place = self._places.get()
        try:
            self.runner.training(stage, place=place, watch=self._watch)
        except BaseException:
            self._stopping = True  # nothing new is begun; what runs goes on to its end
            raise
        finally:
            self._places.put(place)

    def _watch(self, supervisor: Supervisor) -> int:
        with self._lock:
            self._supervisors.append(supervisor)
        if self._stopping:
            return RESUME
        try:
            return supervisor.supervise()
        finally:
            with self._lock:
                self._supervisors.remove(supervisor)

    def _stop(self) -> None:
        """Called by a signal: all save and leave."""
        self._stopping = True
        for supervisor in list(self._supervisors):
            supervisor.stop()


def was_stopped(error: BaseException) -> bool:
    """Whether a training was only told to stop: what failed by itself says more."""
    return isinstance(error, TrainingFailedError) and error.status == RESUME


def groups(stages: Iterable[Stage], trains: Callable[[Stage], bool]) -> Iterator[list[Stage]]:
    """Stages in their order: trainings that can run together, and all others alone."""
    group: list[Stage] = []
    for stage in stages:
        apart = not trains(stage) or any(one.name in stage.needs() for one in group)
        if apart and group:
            yield group
            group = []
        if trains(stage):
            group.append(stage)
        else:
            yield [stage]
    if group:
        yield group
