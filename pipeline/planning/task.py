"""What is to be trained, whatever the layout."""

from dataclasses import dataclass

from pipeline.config import ModelConfig, ParallelConfig, PipelineConfig
from pipeline.costs import flops
from pipeline.costs.lengths import Lengths
from pipeline.planning.layout import Layout


@dataclass(frozen=True)
class Task:
    """A model and the form of its samples."""

    config: PipelineConfig
    """Its layout counts for nothing."""
    lengths: Lengths
    rows: int
    """Of the word table, padded."""
    precision: str = "bfloat16"

    @property
    def model(self) -> ModelConfig:
        return self.config.model

    @property
    def sample_flops(self) -> float:
        """Model FLOPs of a sample, forward and backward, causal attention counted half."""
        return flops.training_per_sample(self.model, self.lengths, self.rows, self.config.objective)

    @property
    def block_flops(self) -> float:
        """The part of these that recomputing whole layers has a third of again."""
        return self.sample_flops - 3 * flops.heads_cost(
            self.model, self.lengths, self.rows, self.config.objective
        )

    @property
    def tokens(self) -> int:
        """Of a sample."""
        return sum(self.lengths)

    @property
    def parameters(self) -> int:
        return flops.parameters(self.model, self.rows, self.config.position_table, self.config.objective)

    @property
    def active_parameters(self) -> int:
        """Those that a token goes through, which its FLOPs follow from: fewer where there are experts."""
        return self.parameters - flops.idle_weights(self.model)

    def laid(self, layout: Layout) -> PipelineConfig:
        """The settings in a layout, which must go together with the model."""
        parallel = ParallelConfig.model_construct(
            tensor=layout.tensor,
            pipeline=layout.pipeline,
            data=layout.data,
            sequence=layout.sequence,
            zero_stage=layout.zero_stage,
            recompute=layout.recompute,
        )
        train = self.config.train.model_copy(
            update={"micro_batch": layout.micro_batch, "global_batch": layout.global_batch, "ramp_up": None}
        )
        return self.config.model_copy(update={"parallel": parallel, "train": train})
