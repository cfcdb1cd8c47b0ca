"""A layout: how the ranks share a training, and what each computes at once."""

from dataclasses import dataclass
from typing import Literal

Recompute = Literal["none", "selective", "full"]


@dataclass(frozen=True)
class Layout:
    tensor: int
    pipeline: int
    data: int
    micro_batch: int
    """Samples that a rank computes at once."""
    micro_batches: int
    """On each rank in a step."""
    zero_stage: int = 1
    recompute: Recompute = "none"
    sequence: bool = False
    chunks: int = 1
    """Runs of layers on each pipeline stage, which interleaving has several of (Narayanan et al. 2021)."""

    @property
    def ranks(self) -> int:
        return self.tensor * self.pipeline * self.data

    @property
    def global_batch(self) -> int:
        return self.micro_batch * self.micro_batches * self.data
