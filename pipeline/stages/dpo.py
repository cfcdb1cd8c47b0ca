"""The kind of stage that learns from comparisons directly, without a reward model.

aligned: {kind: dpo, from: chat, data: [pairs.jsonl], beta: 0.1, learning_rate: 1.0e-6}
"""

from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat

from data_prep.contract.stages import Stage
from pipeline.config import OptimizerConfig
from pipeline.stages.policies import COMPARISONS, FROM, HELD_OUT, by_key, comparison_files, policy_job
from pipeline.stages.reward import check_comparisons, comparisons
from pipeline.stages.training import Training, find_start

if TYPE_CHECKING:
    import torch

    from pipeline.distributed.world import World
    from pipeline.objectives.batches import Batch, BatchSource
    from pipeline.training.job import Job
    from pipeline.training.task import Companions, MakeTask, Task

REFERENCE = "reference"


class DPOConfig(OptimizerConfig):
    beta: PositiveFloat = 0.1
    """How strongly the policy is held to the reference: the factor of log-ratios in its rewards."""
    comparison_smoothing: float = Field(0.0, ge=0.0, lt=0.5)
    """Share of the comparisons that are taken to be the wrong way round."""


class Dpo(Training):
    """`dpo`: the run that it starts from is the frozen reference, too."""

    name, title = "dpo", "Direct preference optimisation"
    chats = True
    inputs = (FROM, COMPARISONS, HELD_OUT)
    settings = DPOConfig
    companions = ("from",)

    def job(self, stage: Stage) -> "Job":
        """Model and tokenizer are those of the run it starts from."""
        return policy_job(self, stage, by_key(*comparison_files(stage)))

    def check(self, stage: Stage) -> None:
        """Every row of every file is a comparison."""
        check_comparisons(stage)

    def batches(self, stage: Stage, job: "Job", world: "World") -> "BatchSource":
        """Prompts with all their answers."""
        return comparisons(stage, job, world)

    def task(self, stage: Stage, job: "Job") -> "MakeTask":
        """The sigmoid loss on log-ratios to the reference."""
        settings, source = stage.settings, stage.source("from")
        assert isinstance(settings, DPOConfig)
        assert source is not None
        start, run = find_start(source)

        def make(job: "Job", world: "World", dtype: "torch.dtype") -> "Task":
            from pipeline.checkpoints.companions import open_companion
            from pipeline.objectives.dpo import DPO
            from pipeline.objectives.model import model_layers
            from pipeline.training.task import Task

            layers = model_layers(job.config, job.vocabulary.size, dtype)
            reference = open_companion(start, run, world, job.config.parallel, dtype)
            loss = DPO(settings.beta, settings.comparison_smoothing)
            return Task(layers, loss, companions={REFERENCE: reference}, prepare=with_reference)

        return make


def with_reference(batches: "list[Batch]", companions: "Companions") -> "list[Batch]":
    """The batches with the reference's log-probabilities as a label, on the last pipeline stage."""
    from pipeline.objectives.dpo import REFERENCE as LABEL

    logs = companions[REFERENCE].log_probabilities(batches)
    return [batch | {LABEL: one} for batch, one in zip(batches, logs, strict=True)] if logs else batches
