"""The training loop of every stage: pretraining and tuning differ in their batches and where they start.

    run/config.yaml  tokenizer.model  identity.json  metrics.jsonl  checkpoints/step-N/  receipt.json

All ranks call `train` together. What a step computes depends on the step alone, so a run that was killed goes
on from its newest checkpoint and ends where it would have ended.
"""

import time
from collections.abc import Callable
from functools import partial

import torch

from data_prep.contract.settings import InputError
from pipeline.checkpoints import saving
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.writer import Writer
from pipeline.config import OptimizerConfig
from pipeline.distributed.signals import Signals, agree
from pipeline.distributed.world import World
from pipeline.health import memory
from pipeline.health.stopping import StopRequest
from pipeline.health.watchdog import Watchdog
from pipeline.objectives.batches import Batch, BatchSource
from pipeline.objectives.expert_shares import EXPERT_SHARE
from pipeline.parallel.engine import Engine
from pipeline.tracking.tracker import Status
from pipeline.training.early_stopping import drop_after, looked_at
from pipeline.training.job import Job
from pipeline.training.loss_guard import LossGuard
from pipeline.training.lr_schedule import learning_rate
from pipeline.training.peak_flops import find_peak
from pipeline.training.progress import Progress
from pipeline.training.task import Experience, MakeTask, Task, own_objective, unchanged


def train(
    job: Job,
    world: World,
    source: BatchSource,
    notify: Callable[[str], None],
    watch: Watchdog,
    stop: StopRequest,
    make_task: MakeTask = own_objective,
) -> bool:
    """Train to the last step, from the newest checkpoint of the run where there is one.

    Returns whether the last step is done; False where the run was asked to stop, and saved what it has.
    """
    dtype = precision(job.optim, job.config.parallel.zero_stage, world.device)
    task = make_task(job, world, dtype)
    engine = Engine(task.layers, task.loss, world, job.config.parallel, job.optim, dtype, job.config.seed)
    found = resume(engine, job, notify, task)
    index = found.index if found else None
    start = index.step if index else 0
    experience = task.experience(engine, notify) if task.experience else None
    if experience and found:
        experience.restore(found.experience())
    source = experience or source
    peak = find_peak(world, dtype)
    progress = Progress(job, start, notify, peak) if world.is_main else None
    status: Status = "FAILED"
    try:
        guard = LossGuard(job, source, progress, index, notify)
        loop = Loop(job, task, engine, source, progress, guard, watch, stop, experience)
        finished = loop.run(start)
        status = "FINISHED" if finished else "KILLED"
        return finished
    finally:
        source.close()
        if progress:
            progress.close(status)


def precision(optim: OptimizerConfig, zero_stage: int, device: torch.device) -> torch.dtype:
    """The type of weights and activations; `InputError` where ZeRO stage or device do not go with it."""
    name = optim.precision
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" else "float32"
    if name != "float32" and zero_stage == 0:
        raise InputError(
            f"parallel.zero_stage is 0 and the precision {name}: stage 0 keeps no float32 copy of the "
            "weights; use stage 1 or more, or precision float32"
        )
    if name == "float16" and device.type == "cpu":
        raise InputError("precision is float16, which DeepSpeed trains on GPUs alone; use float32 on a CPU")
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def resume(engine: Engine, job: Job, notify: Callable[[str], None], task: Task) -> Checkpoint | None:
    """Load what there is to go on from; returns the checkpoint where it is the run's own.

    Weights whose names begin with one of the task's `new` are drawn where the one to start from has none, nor
    any under the prefixes that `taken` has for them.
    """
    found = saving.newest(job.folder, engine.world, notify)
    if found is not None:
        notify(f"{job.stage}: going on from {found.folder}")
        saving.load(engine, found)
        return found
    if job.start_from is not None:
        start = Checkpoint(job.start_from)
        saving.check_files(start, engine.world)
        notify(f"{job.stage}: starting with the weights of {start.folder}")
        if told := saving.load_weights(engine, start, task.new, task.taken, task.fitted):
            notify(f"{job.stage}: {told}")
    if told := task.begin(engine):
        notify(f"{job.stage}: {told}")
    return None


class Loop:
    """Steps, validations, checkpoints and the receipt at the end."""

    def __init__(
        self,
        job: Job,
        task: Task,
        engine: Engine,
        source: BatchSource,
        progress: Progress | None,
        guard: LossGuard,
        watch: Watchdog,
        stop: StopRequest,
        experience: Experience | None = None,
    ) -> None:
        """`experience` is the source where that depends on what is learned."""
        self.experience = experience
        self.job, self.task, self.engine, self.source, self.progress = job, task, engine, source, progress
        self.guard, self.watch, self.stop = guard, watch, stop
        self.validation = list(source.validation())
        self.writer = Writer(engine, job.folder, job.optim)

    def run(self, start: int) -> bool:
        """From step `start` to the last, or until all ranks agree to stop; returns whether the last is done.

        `progress` is there on the main rank alone.
        """
        optim, step = self.job.optim, start
        while step < optim.steps and not self._enough():
            done, last = step + 1, step + 1 == optim.steps
            number = self.guard.batch(step)
            self.watch.phase("data", done, optim.samples_before(number))
            began = time.perf_counter()
            batches = self.source.step(number)
            waited = time.perf_counter() - began
            self.watch.phase("step", done)
            rate = learning_rate(step, optim)
            loss, norm = self.engine.train_step(self._prepared(batches), rate)
            metrics = {"loss": loss, "learning_rate": rate, "gradient_norm": norm} | {
                name: value
                for name, value in self.engine.metrics.items()
                if not name.startswith(EXPERT_SHARE)  # which validations tell often enough
            }
            if self.experience:
                metrics |= self.experience.learned(self.engine.metrics)
            tokens, seconds = self.engine.tokens, time.perf_counter() - began
            if last or done % optim.validate_every == 0:
                self.watch.phase("validation", done)
                metrics |= self._validated() | self._measured(done)
            if self.task.asked and (last or done % optim.suites_every == 0):
                self.watch.phase("validation", done)
                metrics |= self.task.asked(self.engine)
            agreed, written = self._agree(loss, norm)
            metrics |= written
            if back := self.guard.apply(step, loss, norm, agreed, partial(self._newest, done)):
                step = self._go_back(step, back)
                continue
            last |= self._enough()
            if (
                last
                or agreed.stop
                or agreed.retry
                or self._is_best(done)
                or done % optim.checkpoint_every == 0
            ):
                self.watch.phase("save", done)
                kept = self.experience.state() if self.experience else None
                metrics |= self.writer.begin(done, self.guard.memory, kept)
            if self.progress:
                self.progress.step(done, metrics, tokens, seconds, waited)
            if agreed.stop and not last:
                return self._stop(done)
            step = done
        self._finish()
        return True

    def _validated(self) -> dict[str, float]:
        if self.experience:
            return self.experience.validate()
        return {"validation_loss": self._validate()} | {
            f"validation_{name}": value for name, value in self.engine.metrics.items()
        }

    def _prepared(self, batches: list[Batch]) -> list[Batch]:
        return self.task.prepare(batches, self.task.companions)

    def _validate(self) -> float:
        plain = self.task.prepare is unchanged
        return self.engine.evaluate(self.validation, None if plain else self._prepared)

    def _measured(self, done: int) -> dict[str, float]:
        """What the task measures at a validation; the guard's memory keeps what ends the training early."""
        if self.task.measure is None:
            return {}
        found = self.task.measure(self.engine, self.source)
        if self.task.patience:
            self.guard.memory = looked_at(self.guard.memory, found[self.task.best_by], done)
        return {f"validation_{name}": value for name, value in found.items()}

    def _is_best(self, done: int) -> bool:
        return bool(self.task.patience) and self.guard.memory.best_step == done

    def _enough(self) -> bool:
        return bool(self.task.patience) and self.guard.memory.stale >= self.task.patience

    def _agree(self, loss: float, norm: float) -> tuple[Signals, dict[str, float]]:
        """What the ranks agree on at the end of a step; metrics of memory and of a complete checkpoint."""
        kind = self.guard.judge(loss, norm).kind
        mine = self.writer.signals()._replace(
            stop=int(self.stop.asked),
            nonfinite=int(kind == "nonfinite"),
            spike=int(kind == "spike"),
            host_megabytes=memory.host_peak(),
            device_megabytes=memory.device_peak(self.engine.world.device),
        )
        agreed = agree(mine, self.engine.world)
        held = {"peak_host_megabytes": float(agreed.host_megabytes)}
        if agreed.device_megabytes:
            held["peak_device_megabytes"] = float(agreed.device_megabytes)
        return agreed, held | self.writer.apply(agreed)

    def _newest(self, done: int) -> Checkpoint | None:
        self.watch.phase("save", done)
        self.writer.finish()
        return saving.newest(self.job.folder, self.engine.world, self.guard.notify)

    def _go_back(self, step: int, back: Checkpoint) -> int:
        """Be again what a checkpoint says, with the batches of the spike left out; returns its step."""
        start = saving.load(self.engine, back)
        self.guard.go_back(step, back.index)
        return start

    def _stop(self, done: int) -> bool:
        self.watch.phase("end", done)
        self.writer.finish()
        if self.progress:
            self.progress.stopped(done, self.writer.failed)
        return False

    def _finish(self) -> None:
        self.watch.phase("end", self.job.optim.steps)
        measured = self.task.finish(self.engine, self.source) | self.writer.finish_last()
        kept = self.guard.memory.best_step if self.task.patience else 0
        if self.progress:
            if kept:
                drop_after(self.job.folder, kept)
            steps = kept or self.job.optim.steps
            self.progress.finish(self.source.report(steps), measured, steps)
