"""The recipe's `data` section: how samples are made of datasets."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from data_prep.contract.settings import Settings
from pipeline.config.objective import ObjectiveConfig
from pipeline.config.view import ViewConfig


class MixtureEntry(Settings):
    dataset: str
    """Folder of another dataset, or its address (s3://bucket/folder); it must have the same tokenizer."""
    weight: PositiveFloat = 1.0
    """Share of the samples, relative to data.weight and the other entries."""
    max_epochs: PositiveFloat | None = None
    """A run that would read the dataset more often than this is refused; null allows any number."""


class DataConfig(Settings):
    not_in_fingerprint = frozenset({"prefetch", "workers", "cache", "cache_bytes"})
    later = frozenset({"view"})

    sequence_length: int = Field(256, ge=1, le=2**31)
    """Tokens in one sample; with an encoder and a decoder, those of the encoder."""
    packing: Literal["joined", "best_fit"] = "joined"
    """How documents fill samples: joined and cut wherever a sample is full, or kept whole where they fit."""
    attention: Literal["across_documents", "inside_documents"] = "across_documents"
    """Whether a token sees the other documents of its sample; inside_documents also restarts positions."""
    shuffle_window: PositiveInt = 4096
    """Samples that are shuffled together; a window of them is held in memory."""
    corrupt_blocks: Literal["error", "skip"] = "error"
    """What a block with a wrong checksum does: end the run, or be left out and counted."""
    weight: PositiveFloat = 1.0
    """Share of the samples that comes from the recipe's own dataset, relative to the mixture's weights."""
    max_epochs: PositiveFloat | None = None
    """A run that would read the recipe's own dataset more often is refused; null allows any number."""
    mixture: list[MixtureEntry] = Field(default_factory=list)
    """Further datasets to train on. Validation is on the recipe's own."""
    view: ViewConfig = ViewConfig()
    """Of pictures: what of each the model is given."""
    prefetch: int = Field(2, ge=0)
    """Optimizer steps whose batches are made ahead in the background; 0 makes each when it is asked for."""
    workers: int = Field(0, ge=0)
    """Processes that make batches; 0 is a thread, enough for all but the costliest noise."""
    cache: Path | None = None
    """Folder for blocks of remote datasets; null is ~/.cache/bloomery/blocks. Shared by processes."""
    cache_bytes: PositiveInt = 20_000_000_000
    """Largest size of that folder; the blocks that were used longest ago go first."""

    def check_objective(self, objective: ObjectiveConfig) -> None:
        """ValueError where an objective and the form of its samples do not go together."""
        if self.attention == "inside_documents" and objective.kind != "causal_lm":
            raise ValueError(
                f"data.attention inside_documents does not go with objective.kind {objective.kind}; "
                "causal_lm does"
            )
        if objective.has_sentence_task and objective.kind != "masked_lm":
            raise ValueError(
                f"objective.sentence_task {objective.sentence_task} does not go with objective.kind "
                f"{objective.kind}; masked_lm does"
            )
        if objective.span_boundary and objective.kind != "masked_lm":
            raise ValueError(
                f"objective.span_boundary does not go with objective.kind {objective.kind}; masked_lm does"
            )
        if objective.kind != "causal_lm" and self.sequence_length < 8:
            raise ValueError(
                f"data.sequence_length {self.sequence_length} leaves no room for {objective.kind}; 8 does"
            )
