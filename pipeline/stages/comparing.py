"""What the kinds that learn from comparisons have in common: a decoder's run, and files of comparisons."""

from typing import TYPE_CHECKING

from pydantic import Field

from data_prep.contract.stages import Stage
from pipeline.config import OptimizerConfig
from pipeline.stages.policies import COMPARISONS, FROM, HELD_OUT, by_key, comparison_files, policy_job
from pipeline.stages.training import Training

if TYPE_CHECKING:
    from pipeline.distributed.world import World
    from pipeline.objectives.batches import BatchSource
    from pipeline.training.job import Job


class ComparingConfig(OptimizerConfig):
    comparison_smoothing: float = Field(0.0, ge=0.0, lt=0.5)
    """Share of the comparisons that are taken to be the wrong way round."""


class Comparing(Training):
    """A training whose batches are prompts with all their answers."""

    inputs = (FROM, COMPARISONS, HELD_OUT)

    def job(self, stage: Stage) -> "Job":
        """Model and tokenizer are those of the run it starts from."""
        return policy_job(self, stage, by_key(*comparison_files(stage)))

    def check(self, stage: Stage) -> None:
        """`InputError` for a row of any file that is no comparison."""
        from pipeline.preferences.rankings import read_rankings

        for files in comparison_files(stage):
            for path in files:
                for _ in read_rankings(path):
                    pass

    def batches(self, stage: Stage, job: "Job", world: "World") -> "BatchSource":
        """Prompts with all their answers."""
        from pipeline.preferences.comparisons import Comparisons

        files = comparison_files(stage)
        return Comparisons(job.config, job.vocabulary, *files, world.data_rank, world.data_size)
