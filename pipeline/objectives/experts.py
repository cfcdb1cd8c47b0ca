"""The loss of a model with experts: any loss, and what keeps the experts balanced.

An evaluation gives the loss of what is predicted alone, so that it can be compared with other models'.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from pipeline.models.layer import Flow, Layer
from pipeline.objectives.batches import Batch
from pipeline.objectives.loss import Loss


class WithExperts(Loss):
    """A loss with that of the experts beside it."""

    def __init__(self, loss: Loss, drops: bool) -> None:
        """`drops` says whether tokens may find no place in an expert."""
        self.loss, self.drops = loss, drops

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the loss."""
        return self.loss.labels

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those of the loss, the experts' own, the busiest and idlest one's load over the mean, and the share
        of tokens that were dropped."""
        dropped = ("dropped_share",) if self.drops else ()
        return (*self.loss.metrics, "expert_loss", "busiest_expert", "idlest_expert", *dropped)

    def __call__(self, outputs: Flow, labels: Flow) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of both, in a training; the load is the mean over layers."""
        total, metrics = self.loss(outputs, labels)
        own, load_LE = outputs["expert_loss"].mean(), outputs["expert_load"].float()
        relative_LE = load_LE / load_LE.mean(1, keepdim=True)
        busiest, idlest = relative_LE.amax(1).mean(), relative_LE.amin(1).mean()
        found = {"expert_loss": own, "busiest_expert": busiest, "idlest_expert": idlest}
        if self.drops:
            found["dropped_share"] = outputs["expert_dropped"].sum() / load_LE.sum()
        return total + own if torch.is_grad_enabled() else total, metrics | found

    def tokens(self, batch: Batch) -> int:
        """As the loss counts them."""
        return self.loss.tokens(batch)


def with_experts(loss: Loss, layers: Iterable[Layer]) -> Loss:
    """The loss that a list of layers needs."""
    given = {name for layer in layers for name in layer.gives}
    return WithExperts(loss, "expert_dropped" in given) if "expert_loss" in given else loss
