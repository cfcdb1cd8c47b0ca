"""The kind of stage that distils: a student pretrains with a frozen teacher's distribution beside the data.

student: {kind: distill, data: dataset, teacher: base, model: {layers: 2}, steps: 320}
"""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from data_prep.contract.dataset import Dataset
from data_prep.contract.receipt import file_hash
from data_prep.contract.settings import InputError
from data_prep.contract.stages import RUN, Input, Stage
from pipeline.checkpoints.run_folder import INDEX, read_config
from pipeline.config import TrainConfig
from pipeline.stages.pretrain import Pretrain
from pipeline.stages.training import DATA, START, check_tokenizer, config_of, find_start

if TYPE_CHECKING:
    import torch

    from pipeline.distributed.world import World
    from pipeline.objectives.batches import Batch
    from pipeline.training.job import Job
    from pipeline.training.task import Companions, MakeTask, Task


class DistillConfig(TrainConfig):
    share: float = Field(0.5, ge=0.0, le=1.0)
    """Share of the teacher's distribution in the loss; the rest is the objective's own."""
    temperature: float = Field(2.0, gt=0.0, le=1e3)
    """What both models' logits are divided by where their distributions are compared."""


class Distill(Pretrain):
    """`distill`: the recipe's objective, and the teacher's distribution over every predicted token."""

    name, section, title = "distill", "", "Distillation"
    inputs = (DATA, Input("teacher", (RUN,)), START)
    settings = DistillConfig
    companions = ("teacher",)

    def job(self, stage: Stage) -> "Job":
        """Pretraining; the teacher reads and predicts what the student does."""
        job, config = super().job(stage), config_of(stage)
        if config.generator:
            raise InputError(
                f"{stage.name}: objective.kind {config.objective.kind} predicts no words, which is "
                "what a teacher is asked for; masked_lm does"
            )
        start, run = self._teacher(stage)
        theirs = read_config(run)
        ours_are = (config.model.architecture, config.objective.kind)
        if (theirs.model.architecture, theirs.objective.kind) != ours_are:
            raise InputError(
                f"{stage.name}.teacher: {run} is {theirs.model.architecture} on {theirs.objective.kind}, and "
                f"the student {ours_are[0]} on {ours_are[1]}; a teacher predicts what its student does"
            )
        assert isinstance(job.dataset, Dataset)
        check_tokenizer(job.dataset, run)
        job.inputs["teacher"] = file_hash(start / INDEX)
        return job

    def task(self, stage: Stage, job: "Job") -> "MakeTask":
        """The objective's loss with the teacher's, a companion of its own checkpoint."""
        settings, (start, run) = stage.settings, self._teacher(stage)
        assert isinstance(settings, DistillConfig)

        def make(job: "Job", world: "World", dtype: "torch.dtype") -> "Task":
            from pipeline.checkpoints.companions import open_companion
            from pipeline.objectives.distillation import Distillation
            from pipeline.objectives.model import model_layers
            from pipeline.objectives.registry import objective_of
            from pipeline.training.task import Task

            config = job.config
            teacher = open_companion(start, run, world, config.parallel, dtype)
            loss = Distillation(objective_of(config.objective), settings.share, settings.temperature)
            learner = model_layers(config, job.vocabulary.size, dtype)
            return Task(learner, loss, companions={"teacher": teacher}, prepare=with_teacher)

        return make

    def _teacher(self, stage: Stage) -> "tuple[Path, Path]":
        source = stage.source("teacher")
        assert source is not None
        return find_start(source)


def with_teacher(batches: "list[Batch]", companions: "Companions") -> "list[Batch]":
    """The batches with the teacher's logits as a label, on the last pipeline stage."""
    from pipeline.objectives.distillation import TEACHER

    outputs = companions["teacher"].forward(batches)
    if not outputs:
        return batches
    return [batch | {TEACHER: flow["logits"]} for batch, flow in zip(batches, outputs, strict=True)]
