"""The kind of stage that learns from comparisons directly, without a reward model.

aligned: {kind: dpo, from: chat, data: [pairs.jsonl], beta: 0.1, learning_rate: 1.0e-6}
"""

from typing import TYPE_CHECKING

from pydantic import PositiveFloat

from data_prep.contract.stages import Stage
from pipeline.stages.comparing import Comparing, ComparingConfig
from pipeline.stages.training import find_start

if TYPE_CHECKING:
    import torch

    from pipeline.distributed.world import World
    from pipeline.objectives.batches import Batch
    from pipeline.training.job import Job
    from pipeline.training.task import Companions, MakeTask, Task

REFERENCE = "reference"


class DPOConfig(ComparingConfig):
    beta: PositiveFloat = 0.1
    """How strongly the policy is held to the reference: the factor of log-ratios in its rewards."""


class Dpo(Comparing):
    """`dpo`: the run that it starts from is the frozen reference, too."""

    name, title = "dpo", "Direct preference optimisation"
    chats = True
    settings = DPOConfig
    companions = ("from",)

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
