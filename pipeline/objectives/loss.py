"""What an engine asks of a loss: which arrays of a batch are labels, and weighted sums over them."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from pipeline.objectives.batches import Batch, count_tokens

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.layer import Flow


class Loss(ABC):
    """A loss by the names of what it takes and gives."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The arrays of a batch that are labels; those whose names end in `weights` weigh others.

        An engine scales these, so that a weighted sum, averaged over micro batches and ranks, is the weighted
        mean over the global batch.
        """
        return ("targets", "weights")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what it gives beside the loss."""
        return ()

    @abstractmethod
    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """The loss of a micro batch and the metrics, sums over the scaled weights.

        `outputs` are what the model's last layers give, `labels` those arrays of the batch by name.
        """

    def tokens(self, batch: Batch) -> int:
        """How many tokens of a batch the model reads, padding left out."""
        return count_tokens(batch)
