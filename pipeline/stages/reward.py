"""The kind of stage that learns what is preferred: a model and comparisons to a reward model.

preferred: {kind: reward, from: chat, data: [pairs.jsonl], steps: 200}
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from data_prep.contract.receipt import Receipt
from data_prep.contract.report import Headline, Line, Lines, Section, StageReport, Table, percent
from data_prep.contract.stages import Stage
from pipeline.stages.comparing import Comparing, ComparingConfig

if TYPE_CHECKING:
    import torch

    from pipeline.distributed.world import World
    from pipeline.objectives.batches import BatchSource
    from pipeline.parallel.engine import Engine
    from pipeline.training.job import Job
    from pipeline.training.task import MakeTask, Task

REWARD = "reward"
"""What the kind gives, and what its receipt calls the figures of the model."""


class RewardConfig(ComparingConfig):
    centering: float = Field(0.0, ge=0.0, le=1e3)
    """Weight of the squared sums of two answers' rewards in the loss, which keeps them near 0."""


class Reward(Comparing):
    """`reward`: a number for each answer, from pairs or rankings of answers to the same prompt."""

    name, gives, title = "reward", REWARD, "Reward model"
    settings, speaks = RewardConfig, False

    def task(self, stage: Stage, job: "Job") -> "MakeTask":
        """The comparisons of the answers' scores."""
        settings = stage.settings
        assert isinstance(settings, RewardConfig)

        def make(job: "Job", world: "World", dtype: "torch.dtype") -> "Task":
            from pipeline.models.scalar import NAME, scalar
            from pipeline.objectives.model import model_layers
            from pipeline.objectives.reward import RewardLoss
            from pipeline.training.task import Task

            layers = model_layers(job.config, job.vocabulary.size, dtype, scalar)
            loss = RewardLoss(settings.comparison_smoothing, settings.centering)
            return Task(layers, loss, new=(NAME,), finish=measured)

        return make

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """Curves, accuracy beside chance and length, calibration."""
        told = super().report(folder, receipt)
        found = receipt.counts[REWARD]
        low, high = found["interval"]
        said = f"{percent(found['accuracy'], 1)} of held-out comparisons"
        headline = Headline("reward model", said, f"{folder.name}, 95 % interval {low:.3f} to {high:.3f}")
        rows = [
            ["reward model", f"{found['accuracy']:.3f}", f"{low:.3f} to {high:.3f}"],
            ["the longer answer", f"{found['longer_is_better']:.3f}", ""],
            ["chance", "0.500", ""],
        ]
        table = Table(["decides by", "right", "95 % interval"], rows, frozenset({1}))
        sure, right, _ = zip(*found["calibration"], strict=True)
        chart = Lines(
            f"{folder.name}_calibration",
            "how sure the reward model is",
            "how often it is right",
            [Line("held-out comparisons", sure, right), Line("calibrated", (0.5, 1), (0.5, 1), style="line")],
        )
        return StageReport(
            [headline, *told.headlines], [*told.sections, Section("What is preferred", [table, chart])]
        )


def measured(engine: "Engine", source: "BatchSource") -> dict[str, Any]:
    """The figures of a reward model at the end of its training."""
    from pipeline.preferences.measure import figures, judge

    return {REWARD: figures(judge(engine, source))}
