"""The kind of stage that learns from groups of a policy's own answers, without a value model.

aligned: {kind: grpo, from: chat, data: [prompts.jsonl], reward: preferred, group: 8, steps: 100}
solver:  {kind: grpo, from: chat, data: [sums.jsonl], rules: {exact_answer: 1.0}, kl_coefficient: 0}
"""

from typing import TYPE_CHECKING

from data_prep.contract.stages import Stage
from pipeline.config.rollouts import GRPOConfig
from pipeline.stages.answering import Answering, experience_maker, open_companions

if TYPE_CHECKING:
    import torch

    from pipeline.distributed.world import World
    from pipeline.training.job import Job
    from pipeline.training.task import MakeTask, Task


class Grpo(Answering):
    """`grpo`: each answer beside others to the same prompt."""

    name, title = "grpo", "Group relative policy optimisation"
    settings = GRPOConfig

    def task(self, stage: Stage, job: "Job") -> "MakeTask":
        """Clipped ratios of the answers, and the divergence from the reference."""
        settings = stage.settings
        assert isinstance(settings, GRPOConfig)

        def make(job: "Job", world: "World", dtype: "torch.dtype") -> "Task":
            from pipeline.objectives.grpo import GRPO
            from pipeline.objectives.model import model_layers
            from pipeline.preferences.methods import GroupRelative
            from pipeline.training.task import Task

            companions = open_companions(stage, job, world, dtype, reference=settings.kl_coefficient > 0)
            high = settings.ratio_clip if settings.ratio_clip_high is None else settings.ratio_clip_high
            loss = GRPO(settings.kl_coefficient, settings.ratio_clip, high, settings.temperature)
            method = GroupRelative(
                settings.group, settings.aggregation, settings.scale_by_deviation, settings.max_tokens
            )
            layers = model_layers(job.config, job.vocabulary.size, dtype)
            maker = experience_maker(stage, job, dtype, companions, method, loss)
            return Task(layers, loss, companions=companions, experience=maker)

        return make
