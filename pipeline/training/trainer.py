"""The training loop of every stage: pretraining and tuning differ in their batches and where they start.

    run/config.yaml  tokenizer.model  identity.json  metrics.jsonl  checkpoints/step-N/  receipt.json

All ranks call `train` together. What a step computes depends on the step alone, so a run that was killed goes
on from its newest checkpoint and ends where it would have ended.
"""

import time
from collections.abc import Callable

import torch

from data_prep.contract.settings import InputError
from pipeline.config import OptimizerConfig
from pipeline.data.batches import BatchSource
from pipeline.models.decoder import decoder_layers
from pipeline.parallel.engine import Engine
from pipeline.parallel.world import World
from pipeline.tracking.tracker import Status
from pipeline.training import saving
from pipeline.training.checkpoint import Checkpoint
from pipeline.training.job import Job
from pipeline.training.progress import Progress
from pipeline.training.schedule import learning_rate
from pipeline.training.watchdog import Watchdog


def train(
    job: Job, world: World, source: BatchSource, notify: Callable[[str], None], watch: Watchdog
) -> None:
    """Train to the last step, from the newest checkpoint of the run where there is one."""
    dtype = precision(job.optim, job.config.parallel.zero_stage, world.device)
    layers = decoder_layers(job.config, job.dataset.manifest.vocabulary_size, dtype)
    engine = Engine(layers, world, job.config.parallel, job.optim, dtype, job.config.seed)
    start = resume(engine, job, notify)
    progress = Progress(job, start, notify) if world.is_main else None
    status: Status = "FAILED"
    try:
        Loop(job, engine, source, progress, watch).run(start)
        status = "FINISHED"
    finally:
        source.close()
        if progress:
            progress.close(status)


def precision(optim: OptimizerConfig, zero_stage: int, device: torch.device) -> torch.dtype:
    """The type of weights and activations; `InputError` where the ZeRO stage does not go with it."""
    name = optim.precision
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" else "float32"
    if name == "bfloat16" and zero_stage == 0:
        raise InputError(
            "parallel.zero_stage is 0 and the precision bfloat16: stage 0 keeps no float32 copy of the "
            "weights; use stage 1 or more, or precision float32"
        )
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def resume(engine: Engine, job: Job, notify: Callable[[str], None]) -> int:
    """Load what there is to go on from; returns the steps already done."""
    found = saving.newest(job.folder, engine.world, notify)
    if found is not None:
        notify(f"{job.stage}: going on from {found.folder}")
        return saving.load(engine, found)
    if job.start_from is not None:
        saving.load_weights(engine, Checkpoint(job.start_from))
    return 0


class Loop:
    """Steps, validations, checkpoints and the receipt at the end."""

    def __init__(
        self, job: Job, engine: Engine, source: BatchSource, progress: Progress | None, watch: Watchdog
    ) -> None:
        self.job, self.engine, self.source, self.progress = job, engine, source, progress
        self.watch = watch
        self.validation = list(source.validation())

    def run(self, start: int) -> None:
        """From step `start` to the last; `progress` is there on the main rank alone."""
        optim = self.job.optim
        for step in range(start, optim.steps):
            done, last = step + 1, step + 1 == optim.steps
            self.watch.phase("data", done, step * optim.global_batch)
            began = time.perf_counter()
            batches = self.source.step(step)
            waited = time.perf_counter() - began
            self.watch.phase("step", done)
            rate = learning_rate(step, optim)
            loss, norm = self.engine.train_step(batches, rate)
            metrics = {"loss": loss, "learning_rate": rate, "gradient_norm": norm}
            seconds = time.perf_counter() - began
            if last or done % optim.validate_every == 0:
                self.watch.phase("validation", done)
                metrics["validation_loss"] = self.engine.evaluate(self.validation)
            if self.progress:
                self.progress.step(done, metrics, seconds, waited)
            if last or done % optim.checkpoint_every == 0:
                self.watch.phase("save", done)
                self._save(done)
        self.watch.phase("end", optim.steps)
        if self.progress:
            self.progress.finish(self.source.report(optim.steps))

    def _save(self, step: int) -> None:
        saving.save(self.engine, self.job.folder, step)
        if self.engine.world.is_main:
            saving.keep_newest(self.job.folder, self.job.optim.keep_checkpoints)
